// Signatures against botocore's, another implementation of the same rules.
#include "core/objects/aws_signature.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/sha256.h"
#include "core/objects/s3_location.h"
#include "tests/testing/object_server.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

struct Row {
  SignedRequest request;
  Credentials credentials;
};

// Keys and queries of every kind: odd characters, parameters without a value, many headers, a session.
std::vector<Row> Rows() {
  const Credentials keys = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
  const std::string empty = Sha256Hex("");
  const std::string odd = EncodePath("/bucket/a b/c+d/e=f/g%h/~i/(j)/k'l/\xc3\xa4/m:n@o");
  return {
      {{"GET", "bucket.s3.amazonaws.com", "/", "", empty}, keys},
      {{"GET", "127.0.0.1:9000", odd, "", empty}, keys},
      {{"PUT", "store:9000", "/bucket/key", "", Sha256Hex("body"), {{"if-none-match", "*"}}}, keys},
      {{"POST", "store:9000", "/bucket/key", "uploads=", empty}, keys},
      {{"PUT", "store:9000", "/bucket/key", "partNumber=12&uploadId=a%2Bb%3D", Sha256Hex("x")}, keys},
      {{"GET", "store", "/bucket/",
        absl::StrCat("continuation-token=", EncodeQuery("1/a=+ &"),
                     "&encoding-type=url&list-type=2&prefix=", EncodeQuery("folder/sub folder/")),
        empty},
       keys},
      {{"PUT",
        "store",
        "/bucket/key",
        "",
        empty,
        {{"x-amz-copy-source", "/a/b"}, {"x-amz-acl", "private"}, {"range", "bytes=0-1"}}},
       {keys.access_key_id, keys.secret_access_key, "session/token+with=odd"}},
  };
}

Json Described(const Row& row, const SigningScope& scope) {
  return {{"method", row.request.method},
          {"host", row.request.host},
          {"path", row.request.path},
          {"query", row.request.query},
          {"body_sha256", row.request.body_sha256},
          {"headers", row.request.headers},
          {"region", scope.region},
          {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%S", scope.time, absl::UTCTimeZone())},
          {"access_key", row.credentials.access_key_id},
          {"secret_key", row.credentials.secret_access_key},
          {"token", row.credentials.session_token}};
}

std::string OutputOf(const std::string& command) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, got);
  pclose(pipe);
  return output;
}

// The part of an Authorization header that says "Signature=".
std::string SignatureIn(const std::string& authorization) {
  const size_t begin = authorization.find("Signature=");
  return begin == std::string::npos ? "(none)" : authorization.substr(begin);
}

TEST(AwsSignature, AgreesWithBotocore) {
  const auto python = TestPython();
  SKIP_WITHOUT_TEST_VENV(python);
  const SigningScope scope = {.region = "eu-central-1", .time = absl::FromUnixSeconds(1'700'000'000)};
  Json requests = Json::array();
  for (const Row& row : Rows()) {
    Json described = Described(row, scope);
    // Only headers of x-amz- are signed here; botocore signs all it is given.
    for (auto it = described["headers"].begin(); it != described["headers"].end();) {
      it = it.key().rfind("x-amz-", 0) == 0 ? std::next(it) : described["headers"].erase(it);
    }
    requests.push_back(described);
  }
  const std::string file = JoinPath(MakeTempDir(), "requests.json");
  ASSERT_OK(WriteFileDurably(RealFileSystem(), file, JsonText(requests)));
  const std::string output =
      OutputOf(absl::StrCat(*python, " ", SourcePath("tests/testing/sign_with_botocore.py"), " ", file));
  ASSERT_OK_AND_ASSIGN(const Json theirs, ParseJson(output, "botocore's signatures"));
  const std::vector<Row> rows = Rows();
  ASSERT_EQ(theirs.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto headers = SignatureHeaders(rows[i].request, scope, rows[i].credentials);
    EXPECT_EQ(SignatureIn(headers.at("authorization")), SignatureIn(theirs[i].get<std::string>())) << i;
  }
}

// Amazon's documentation of SigV4 for S3 has this example ("GET bucket lifecycle").
TEST(AwsSignature, AgreesWithTheDocumentedExample) {
  const SignedRequest request = {"GET", "examplebucket.s3.amazonaws.com", "/", "lifecycle=", Sha256Hex("")};
  const auto headers = SignatureHeaders(request, {.region = "us-east-1", .time = absl::FromUnixSeconds(1'369'353'600)},
                                        {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"});
  EXPECT_EQ(headers.at("x-amz-date"), "20130524T000000Z");
  EXPECT_EQ(SignatureIn(headers.at("authorization")),
            "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

}  // namespace
}  // namespace quantd
