// The client against a store that answers as it is told: every outcome, retries, limits.
#include "core/objects/s3_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/sha256.h"
#include "tests/testing/memory_s3.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::ElementsAre;

const S3Location kObject = {"bucket", "folder/object"};
constexpr int64_t kPartBytes = 1000;

std::string CredentialsFile() {
  const std::string path = JoinPath(MakeTempDir(), "credentials");
  const absl::Status written = WriteFileDurably(RealFileSystem(), path,
                                                "[other]\naws_access_key_id = no\n[default]\naws_access_key_id = AKID\n"
                                                "aws_secret_access_key = secret\n");
  EXPECT_OK(written);
  return path;
}

std::string Digits(size_t count) {
  std::string bytes(count, '0');
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>('0' + i * 7 % 10);
  return bytes;
}

class S3ClientTest : public testing::Test {
 protected:
  S3ClientTest() {
    options_.endpoint = store_.url();
    options_.path_style = true;
    options_.credentials_file = CredentialsFile();
    options_.retry = {.attempts = 3, .first_pause = absl::Milliseconds(1), .longest_pause = absl::Milliseconds(2)};
    options_.multipart_threshold_bytes = 3 * kPartBytes;
    options_.part_bytes = kPartBytes;
  }
  S3Client& client() {
    if (client_ == nullptr) {
      auto created = S3Client::Create(options_);
      EXPECT_OK(created);
      client_ = *std::move(created);
    }
    return *client_;
  }
  absl::Status PutFile(const std::string& bytes, PutCondition condition = PutCondition::kIfAbsent) {
    const std::string path = JoinPath(MakeTempDir(), "file");
    RETURN_IF_ERROR(WriteFileDurably(RealFileSystem(), path, bytes));
    ASSIGN_OR_RETURN(const auto file, RealFileSystem().OpenForRead(path));
    return client().PutFile(kObject, *file, condition);
  }
  std::string Stored() const { return store_.Get("/bucket/folder/object").value_or("(none)"); }

  MemoryS3 store_;
  S3Options options_;
  std::unique_ptr<S3Client> client_;
};

TEST_F(S3ClientTest, WhatIsPutComesBackWholeAndInRanges) {
  ASSERT_OK(client().Put(kObject, "0123456789", PutCondition::kAlways));
  ASSERT_OK_AND_ASSIGN(const ObjectInfo info, client().Head(kObject));
  EXPECT_EQ(info.size_bytes, 10);
  for (const auto& [offset, size, bytes] : {std::tuple{0, 10, "0123456789"}, {3, 4, "3456"}, {9, 1, "9"}, {4, 0, ""}}) {
    EXPECT_EQ(client().GetRange(kObject, {.offset = offset, .size = size}).value_or("?"), bytes);
  }
  EXPECT_THAT(client().GetRange(kObject, {.offset = 8, .size = 4}), FailsWith("OBJECT_TOO_SHORT", "4 bytes from 8"));
  EXPECT_THAT(client().GetRange(kObject, {.offset = 10, .size = 1}), FailsWith("OBJECT_TOO_SHORT", "HTTP 416"));
  ASSERT_OK(client().Delete(kObject));
  EXPECT_OK(client().Delete(kObject)) << "what is gone need not be deleted";
  EXPECT_THAT(client().GetRange(kObject, {.size = 1}), FailsWith("OBJECT_NOT_FOUND", "NoSuchKey"));
  EXPECT_THAT(client().Head(kObject), FailsWith("OBJECT_NOT_FOUND", "HTTP 404"));
}

TEST_F(S3ClientTest, AnObjectThatChangedMeanwhileIsNoticed) {
  ASSERT_OK(client().Put(kObject, "first", PutCondition::kAlways));
  ASSERT_OK_AND_ASSIGN(const ObjectInfo info, client().Head(kObject));
  EXPECT_OK(client().GetRange(kObject, {.size = 5, .if_etag = info.etag}));
  ASSERT_OK(client().Put(kObject, "other", PutCondition::kAlways));
  EXPECT_THAT(client().GetRange(kObject, {.size = 5, .if_etag = info.etag}), FailsWith("OBJECT_EXISTS", "the one"));
}

TEST_F(S3ClientTest, ConditionalPutsNeverReplace) {
  ASSERT_OK(client().Put(kObject, "first", PutCondition::kIfAbsent));
  EXPECT_THAT(client().Put(kObject, "second", PutCondition::kIfAbsent), FailsWith("OBJECT_EXISTS", "HTTP 412"));
  EXPECT_THAT(PutFile(Digits(4000)), FailsWith("OBJECT_EXISTS", "HTTP 412"));
  EXPECT_EQ(Stored(), "first");
  EXPECT_EQ(store_.open_uploads(), 0u) << "the parts were removed";
  ASSERT_OK(client().Put(kObject, "third", PutCondition::kAlways));
  EXPECT_EQ(Stored(), "third");
}

TEST_F(S3ClientTest, FilesOfEverySizeArriveWhole) {
  for (const size_t size : {0, 1, 2999, 3000, 3001, 4000, 12'345}) {
    ASSERT_OK(PutFile(Digits(size), PutCondition::kAlways)) << size;
    EXPECT_TRUE(Stored() == Digits(size)) << size;
  }
  EXPECT_EQ(store_.open_uploads(), 0u);
}

TEST_F(S3ClientTest, PartsAreRemovedWhenOneFails) {
  store_.SetFault([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (absl::StrContains(request.query, "partNumber=3")) return S3Error(403, "AccessDenied");
    return std::nullopt;
  });
  EXPECT_THAT(PutFile(Digits(5000)), FailsWith("OBJECT_STORE_DENIED", "AccessDenied"));
  EXPECT_EQ(store_.open_uploads(), 0u);
  EXPECT_EQ(Stored(), "(none)");
}

TEST_F(S3ClientTest, CompletionWhoseAnswerWasLostCounts) {
  std::atomic<int> completions{0};
  store_.SetFault([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    const bool completes = request.method == "POST" && absl::StartsWith(request.query, "uploadId=");
    if (!completes || completions++ > 0) return std::nullopt;
    store_.Put("/bucket/folder/object", Digits(5000));
    return S3Error(503, "SlowDown");
  });
  options_.multipart_threshold_bytes = kPartBytes;
  const absl::Status status = PutFile(Digits(5000));
  EXPECT_THAT(status, FailsWith("OBJECT_EXISTS", "412")) << "the store says so: whose it is only the caller can know";
  completions = 0;
  store_.SetFault([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    const bool completes = request.method == "POST" && absl::StartsWith(request.query, "uploadId=");
    if (!completes) return std::nullopt;
    return completions++ > 0 ? S3Error(404, "NoSuchUpload") : S3Error(500, "InternalError");
  });
  EXPECT_OK(PutFile(Digits(5000))) << "unknown, and the object is there with its size: it was completed";
}

TEST_F(S3ClientTest, ListsGoOnOverPages) {
  store_.SetPageSize(3);
  for (int i = 0; i < 10; ++i) store_.Put(absl::StrCat("/bucket/a/", i), std::string(static_cast<size_t>(i), 'x'));
  store_.Put("/bucket/b", "");
  ASSERT_OK_AND_ASSIGN(const auto objects, client().List({"bucket", "a/"}, /*limit=*/10));
  ASSERT_EQ(objects.size(), 10u);
  for (size_t i = 0; i < objects.size(); ++i) {
    EXPECT_EQ(objects[i].key, absl::StrCat("a/", i));
    EXPECT_EQ(objects[i].size_bytes, static_cast<int64_t>(i));
  }
  EXPECT_THAT(client().List({"bucket", "a/"}, /*limit=*/9), FailsWith("OBJECT_LIST_TOO_LONG", "more than 9"));
  EXPECT_TRUE(client().List({"bucket", "c/"}, 9)->empty());
}

TEST_F(S3ClientTest, FoldersAreListedOnce) {
  store_.SetPageSize(2);
  for (const char* path : {"/bucket/a/x/1", "/bucket/a/x/2", "/bucket/a/y/z/3", "/bucket/a/plain", "/bucket/b/c/4"}) {
    store_.Put(path, "");
  }
  ASSERT_OK_AND_ASSIGN(const auto names, client().ListFolders({"bucket", "a/"}));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), (std::set<std::string>{"x", "y"}));
}

TEST_F(S3ClientTest, CopiesOfEverySizeAreWhole) {
  options_.copy_part_bytes = kPartBytes;
  for (const size_t size : {0, 1, 1000, 1001, 4000, 12'345}) {
    store_.Put("/bucket/from", Digits(size));
    ASSERT_OK(client().Copy({"bucket", "from"}, kObject, static_cast<int64_t>(size))) << size;
    EXPECT_TRUE(Stored() == Digits(size)) << size;
  }
  EXPECT_EQ(store_.open_uploads(), 0u);
  EXPECT_THAT(client().Copy({"bucket", "from"}, kObject, 999), FailsWith("OBJECT_SIZE_WRONG", "the store has 12345"));
  EXPECT_THAT(client().Copy({"bucket", "absent"}, kObject, 5), FailsWith("OBJECT_NOT_FOUND", "NoSuchKey"));
}

struct Outcome {
  int http_status;
  const char* code;  // in the body
  absl::StatusCode status;
  const char* reason;
  int tries;
};
constexpr Outcome kOutcomes[] = {
    {403, "AccessDenied", absl::StatusCode::kPermissionDenied, "OBJECT_STORE_DENIED", 1},
    {403, "SignatureDoesNotMatch", absl::StatusCode::kPermissionDenied, "OBJECT_STORE_DENIED", 1},
    {401, "Unauthorized", absl::StatusCode::kPermissionDenied, "OBJECT_STORE_DENIED", 1},
    {404, "NoSuchBucket", absl::StatusCode::kNotFound, "OBJECT_NOT_FOUND", 1},
    {409, "OperationAborted", absl::StatusCode::kAborted, "OBJECT_CONFLICT", 1},
    {412, "PreconditionFailed", absl::StatusCode::kAlreadyExists, "OBJECT_EXISTS", 1},
    {301, "PermanentRedirect", absl::StatusCode::kFailedPrecondition, "OBJECT_STORE_REFUSED", 1},
    {400, "InvalidRequest", absl::StatusCode::kFailedPrecondition, "OBJECT_STORE_REFUSED", 1},
    {400, "ExpiredToken", absl::StatusCode::kPermissionDenied, "OBJECT_STORE_DENIED", 1},
    {400, "XAmzContentSHA256Mismatch", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE", 3},
    {400, "RequestTimeout", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE", 3},
    {429, "TooManyRequests", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE", 3},
    {500, "InternalError", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE", 3},
    {502, "BadGateway", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE", 3},
    {503, "SlowDown", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE", 3},
    {504, "GatewayTimeout", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE", 3},
    {200, "InternalError", absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE", 3},  // an error within a success
    {507, "StorageFull", absl::StatusCode::kResourceExhausted, "DISK_FULL", 1},
};

TEST_F(S3ClientTest, EveryAnswerHasItsReasonAndItsNumberOfTries) {
  for (const Outcome& row : kOutcomes) {
    store_.SetFault([&](const ScriptedRequest&) { return S3Error(row.http_status, row.code); });
    const size_t before = store_.requests().size();
    const absl::Status status = client().Put(kObject, "bytes", PutCondition::kAlways);
    EXPECT_EQ(status.code(), row.status) << row.code;
    EXPECT_THAT(status, FailsWith(row.reason, row.code));
    EXPECT_THAT(status, FailsWith(row.reason, "s3://bucket/folder/object"));
    EXPECT_EQ(store_.requests().size() - before, static_cast<size_t>(row.tries)) << row.code;
  }
}

TEST_F(S3ClientTest, EveryRowOfTheTableIsTested) {
  for (const AnswerMeaning& row : AnswerMeanings()) {
    const bool tested = row.http_status == 0 || row.http_status == 408 || row.http_status == 416 ||
                        std::any_of(std::begin(kOutcomes), std::end(kOutcomes),
                                    [&](const Outcome& outcome) { return outcome.http_status == row.http_status; });
    EXPECT_TRUE(tested) << row.http_status;
  }
}

TEST_F(S3ClientTest, ATroubleThatPassesIsNotNoticed) {
  std::atomic<int> tries{0};
  store_.SetFault([&](const ScriptedRequest&) -> std::optional<ScriptedAnswer> {
    if (++tries == 1) return S3Error(503, "SlowDown");
    if (tries == 2) return ScriptedAnswer{.body = "0123456789", .cut_after = 4};
    return std::nullopt;
  });
  store_.Put("/bucket/folder/object", "0123456789");
  EXPECT_EQ(client().GetRange(kObject, {.size = 10}).value_or("?"), "0123456789");
  EXPECT_EQ(tries, 3);
}

TEST_F(S3ClientTest, CutOffAnswersAreNeverTakenForWhole) {
  store_.SetFault(
      [](const ScriptedRequest&) { return ScriptedAnswer{.status = 206, .body = "0123456789", .cut_after = 4}; });
  EXPECT_THAT(client().GetRange(kObject, {.size = 10}), FailsWith("OBJECT_STORE_UNAVAILABLE", "given up after 3"));
  store_.SetFault([](const ScriptedRequest&) { return ScriptedAnswer{.status = 206, .body = "0123"}; });
  EXPECT_THAT(client().GetRange(kObject, {.size = 10}), FailsWith("OBJECT_TOO_SHORT", "came with 4"));
}

TEST_F(S3ClientTest, AStoreThatDoesNotAnswerIsGivenUp) {
  options_.transport.request_timeout = absl::Milliseconds(200);
  options_.retry.attempts = 2;
  store_.SetFault([](const ScriptedRequest&) { return ScriptedAnswer{.delay = absl::Seconds(30)}; });
  const auto before = std::chrono::steady_clock::now();
  EXPECT_THAT(client().Head(kObject), FailsWith("OBJECT_STORE_UNAVAILABLE", "timed out"));
  // Two tries of 0.2 s and of one more second for the 64 KiB that an answer may have; the store would take a minute.
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(20));
}

TEST_F(S3ClientTest, AWishToStopEndsAWait) {
  store_.SetFault([](const ScriptedRequest&) { return ScriptedAnswer{.delay = absl::Seconds(30)}; });
  const auto before = std::chrono::steady_clock::now();
  const absl::Status status = client().Head(kObject, [] { return true; }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(10));
}

TEST_F(S3ClientTest, AnswersThatNeverEndAreCutOff) {
  store_.Put("/bucket/folder/object", std::string(1 << 20, 'x'));
  store_.SetFault([](const ScriptedRequest&) { return ScriptedAnswer{.body = std::string(1 << 20, 'x')}; });
  const size_t before = store_.requests().size();
  EXPECT_THAT(client().GetRange(kObject, {.size = 10}), FailsWith("OBJECT_ANSWER_TOO_LONG", "more than 1034 bytes"));
  EXPECT_EQ(store_.requests().size() - before, 1u);
}

TEST_F(S3ClientTest, WhatIsNoListIsRefused) {
  for (const char* body :
       {"", "<html>hello</html>", "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "<ListBucketResult>",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult></ListBucketResult>"}) {
    store_.SetFault([body](const ScriptedRequest&) { return ScriptedAnswer{.body = body}; });
    EXPECT_THAT(client().List({"bucket", ""}, 10), FailsWith("OBJECT_ANSWER_MALFORMED", "")) << body;
  }
}

TEST_F(S3ClientTest, ABucketOfItsOwnHostIsNamedThere) {
  options_.path_style = false;
  options_.endpoint = absl::StrCat("http://localhost:", options_.endpoint.substr(options_.endpoint.rfind(':') + 1));
  store_.SetFault([](const ScriptedRequest&) { return ScriptedAnswer{}; });
  ASSERT_OK(client().Put(kObject, "bytes", PutCondition::kAlways));
  const ScriptedRequest request = store_.requests().back();
  EXPECT_EQ(request.path, "/folder/object");
  EXPECT_THAT(request.headers.at("host"), testing::StartsWith("bucket.localhost:"));
}

TEST_F(S3ClientTest, NobodyListening) {
  options_.endpoint = "http://127.0.0.1:1";
  EXPECT_THAT(client().Head(kObject), FailsWith("OBJECT_STORE_UNAVAILABLE", "s3_endpoint"));
}

TEST_F(S3ClientTest, SettingsThatCannotWorkAreNamed) {
  for (const char* endpoint : {"store", "ftp://store", "http://", "http://a/b", "http://a b", "http://u:p@host"}) {
    options_.endpoint = endpoint;
    EXPECT_THAT(S3Client::Create(options_), FailsWith("OBJECT_ENDPOINT_INVALID", "HOST")) << endpoint;
  }
  options_.endpoint = "";
  options_.credentials_file = JoinPath(MakeTempDir(), "absent");
  EXPECT_THAT(S3Client::Create(options_), FailsWith("FILE_NOT_FOUND", "absent"));
  ASSERT_OK(WriteFileDurably(RealFileSystem(), options_.credentials_file, "[default]\naws_access_key_id = AKID\n"));
  EXPECT_THAT(S3Client::Create(options_), FailsWith("OBJECT_CREDENTIALS_MISSING", "aws_secret_access_key"));
}

TEST_F(S3ClientTest, RotatedKeysAreUsedAtOnceAndBrokenFilesNever) {
  ASSERT_OK(client().Put(kObject, "", PutCondition::kAlways));
  const auto rewrite = [&](absl::string_view text) {
    ASSERT_OK(WriteFileDurably(RealFileSystem(), options_.credentials_file, text));
  };
  const auto key_used = [&] {
    EXPECT_OK(client().Put(kObject, "", PutCondition::kAlways));
    return store_.requests().back().headers.at("authorization");
  };
  rewrite("aws_access_key_id=NEWKEY\naws_secret_access_key=s\naws_session_token=token\n");
  EXPECT_THAT(key_used(), testing::HasSubstr("Credential=NEWKEY/"));
  EXPECT_EQ(store_.requests().back().headers.at("x-amz-security-token"), "token");
  rewrite("broken");
  EXPECT_THAT(key_used(), testing::HasSubstr("Credential=NEWKEY/"));
}

TEST(Retry, PausesGrowAndStayBelowTheirLimit) {
  const RetryPolicy policy = {.first_pause = absl::Milliseconds(100), .longest_pause = absl::Seconds(1)};
  EXPECT_EQ(PauseAfter(policy, 1, 0), absl::Milliseconds(50));
  EXPECT_EQ(PauseAfter(policy, 3, 0), absl::Milliseconds(200));
  EXPECT_EQ(PauseAfter(policy, 60, 0), absl::Milliseconds(500));
  for (int failures = 1; failures < 20; ++failures) {
    EXPECT_LT(PauseAfter(policy, failures, 0.999), absl::Seconds(1)) << failures;
    EXPECT_LT(PauseAfter(policy, failures, 0), PauseAfter(policy, failures, 0.5)) << "jitter";
  }
}

TEST(S3Uri, OnlyWellFormedOnesAreTaken) {
  ASSERT_OK_AND_ASSIGN(const S3Location whole, ParseS3Uri("s3://models.eu/a/b_c-1.0/"));
  EXPECT_EQ(whole.bucket, "models.eu");
  EXPECT_EQ(whole.key, "a/b_c-1.0");
  EXPECT_EQ(ParseS3Uri("s3://models")->key, "");
  for (const char* bad :
       {"", "s3:/models/a", "s3://", "s3://ab/x", "s3://Models/x", "s3://models//x", "s3://models/../x",
        "s3://models/a/./b", "s3://models/a b", "s3://models/a?b", "s3://models/a%2e", "s3://-models/a",
        "s3://mod..els/a", "s3://models/a\n", "http://models/a"}) {
    EXPECT_THAT(ParseS3Uri(bad), FailsWith("OBJECT_URI_INVALID", "s3://BUCKET/KEY")) << bad;
  }
  EXPECT_THAT(ParseS3Uri("s3://models/" + std::string(2000, 'a')), FailsWith("OBJECT_URI_INVALID", "1024"));
}

}  // namespace
}  // namespace quantd
