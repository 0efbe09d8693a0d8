#include "core/base/status.h"

#include "core/base/checked.h"
#include "core/base/clock.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

TEST(Status, CarriesReasonAndField) {
  const absl::Status status = WithField(InvalidInput("BITS_OUT_OF_RANGE", "bits is 9"), "spec.recipe.bits");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), "BITS_OUT_OF_RANGE");
  EXPECT_EQ(FieldOf(status), "spec.recipe.bits");
  EXPECT_EQ(status.message(), "bits is 9");
}

TEST(Status, ContextKeepsEverythingElse) {
  const absl::Status inner = WithField(ReasonError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", "no x"), "f");
  const absl::Status status = WithContext(inner, "job 7");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), "FILE_NOT_FOUND");
  EXPECT_EQ(FieldOf(status), "f");
  EXPECT_EQ(status.message(), "job 7: no x");
}

TEST(Status, OkStaysOk) {
  EXPECT_OK(WithContext(absl::OkStatus(), "x"));
  EXPECT_OK(WithField(absl::OkStatus(), "x"));
  EXPECT_EQ(ReasonOf(absl::OkStatus()), "");
  EXPECT_EQ(ReasonOf(absl::InternalError("plain")), "");
  EXPECT_EQ(FieldOf(absl::InternalError("plain")), "");
}

absl::StatusOr<int> Half(int value) {
  if (value % 2 != 0) return InvalidInput("ODD", "odd");
  return value / 2;
}
absl::StatusOr<int> Quarter(int value) {
  ASSIGN_OR_RETURN(const int half, Half(value));
  RETURN_IF_ERROR(Half(half).status());
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(Status, MacrosReturnTheFirstError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_THAT(Quarter(6), FailsWith("ODD", "odd"));
  EXPECT_THAT(Quarter(7), FailsWith("ODD", "odd"));
}

TEST(Checked, OverflowIsNothing) {
  constexpr uint64_t kMax = UINT64_MAX;
  EXPECT_EQ(CheckedMultiply(uint64_t{1} << 32, (uint64_t{1} << 32) - 1), kMax - ((uint64_t{1} << 32) - 1));
  EXPECT_EQ(CheckedMultiply(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(CheckedMultiply(kMax, 0), 0u);
  EXPECT_EQ(CheckedAdd(kMax, 0), kMax);
  EXPECT_EQ(CheckedAdd(kMax, 1), std::nullopt);
  EXPECT_EQ(CheckedProduct({}), 1u);
  EXPECT_EQ(CheckedProduct({2, 3, 7}), 42u);
  EXPECT_EQ(CheckedProduct({kMax, 2}), std::nullopt);
}

TEST(Checked, DivisionRoundsUp) {
  EXPECT_EQ(CeilDiv(0, 4), 0);
  EXPECT_EQ(CeilDiv(1, 4), 1);
  EXPECT_EQ(CeilDiv(4, 4), 1);
  EXPECT_EQ(CeilDiv(5, 4), 2);
  EXPECT_EQ(RoundUp(5, 8), 8);
  EXPECT_EQ(RoundUp(16, 8), 16);
}

TEST(FakeClock, MovesWhenTold) {
  FakeClock clock(absl::FromUnixSeconds(100));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(100));
  clock.Advance(absl::Seconds(5));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(105));
}

}  // namespace
}  // namespace quantd
