#include "server/errors/rpc_status.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/errors/quota_error.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

TEST(RpcStatus, CarriesReasonFieldAndMessageBothWays) {
  const absl::Status status = WithField(InvalidInput("PAGE_SIZE_INVALID", "page_size is -1"), "page_size");
  const grpc::Status wire = ToRpcStatus(status);
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const absl::Status back = FromRpcStatus(wire);
  EXPECT_THAT(back, FailsWith("PAGE_SIZE_INVALID", "page_size is -1"));
  EXPECT_EQ(FieldOf(back), "page_size");
  EXPECT_EQ(back.code(), absl::StatusCode::kInvalidArgument);
}

TEST(RpcStatus, HasErrorInfoOfOurDomainEvenWithoutReason) {
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(ToRpcStatus(absl::InternalError("oops")).error_details()));
  ASSERT_EQ(details.details_size(), 1);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.domain(), "quantd");
  EXPECT_EQ(info.reason(), "INTERNAL");
}

TEST(RpcStatus, LongMessagesAreCutBetweenCharacters) {
  const std::string message = std::string(2047, 'a') + "\xC3\xA9" + std::string(100, 'b');
  EXPECT_EQ(ToRpcStatus(absl::InternalError(message)).error_message(), std::string(2047, 'a'));
}

// A name in any script, where every byte becomes three and no cut may leave half a character.
TEST(RpcStatus, MessagesThatGrowOnTheWireAreCutSooner) {
  std::string message;
  for (int i = 0; i < 1000; ++i) message += "\xE6\xA8\xA1";
  const std::string kept = ToRpcStatus(absl::InternalError(message)).error_message();
  EXPECT_EQ(kept.size(), 1023);
  EXPECT_EQ(kept, message.substr(0, 1023));
}

TEST(RpcStatus, FieldsAndReasonsOfAnyLengthFitTheHeaders) {
  const std::string huge(100'000, 'X');
  const grpc::Status wire = ToRpcStatus(WithField(InvalidInput(huge, huge), huge));
  EXPECT_LE(wire.error_message().size() + wire.error_details().size() * 4 / 3, 7 << 10);
  EXPECT_EQ(ReasonOf(FromRpcStatus(wire)), huge.substr(0, 63));
  EXPECT_EQ(FieldOf(FromRpcStatus(wire)), huge.substr(0, 256));
}

TEST(RpcStatus, CarriesQuotaAndDelayBothWays) {
  const absl::Status full = WithRetryAfter(
      WithQuotaSubject(ReasonError(absl::StatusCode::kResourceExhausted, "SUBMIT_RATE", "too fast"), "tenants/team-a"),
      absl::Microseconds(2'000'500));
  const grpc::Status wire = ToRpcStatus(full);
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::Status rich;
  ASSERT_TRUE(rich.ParseFromString(wire.error_details()));
  ASSERT_EQ(rich.details_size(), 3);
  google::rpc::QuotaFailure quota;
  ASSERT_TRUE(rich.details(1).UnpackTo(&quota));
  EXPECT_EQ(quota.violations(0).subject(), "tenants/team-a");
  EXPECT_EQ(quota.violations(0).description(), "too fast");
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(rich.details(2).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 2);
  EXPECT_EQ(retry.retry_delay().nanos(), 1'000'000) << "rounded up to milliseconds: not too early";
  EXPECT_EQ(QuotaSubjectOf(FromRpcStatus(wire)), "tenants/team-a");
  EXPECT_EQ(RetryAfterOf(FromRpcStatus(wire)), absl::Milliseconds(2001));
  EXPECT_EQ(ReasonOf(FromRpcStatus(wire)), "SUBMIT_RATE");
}

TEST(RpcStatus, OkStaysOk) {
  EXPECT_TRUE(ToRpcStatus(absl::OkStatus()).ok());
  EXPECT_OK(FromRpcStatus(grpc::Status::OK));
}

TEST(RpcStatus, DetailsThatDoNotParseAreIgnored) {
  const absl::Status status = FromRpcStatus(grpc::Status(grpc::StatusCode::NOT_FOUND, "gone", "\xFF\xFFgarbage"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), "");
}

TEST(RpcStatus, FailingDiskIsWorthAnotherTry) {
  const grpc::Status status = ToRpcStatus(ErrnoError(EIO, "writing /data/x"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(FromRpcStatus(status)), "IO_ERROR");
}

}  // namespace
}  // namespace quantd
