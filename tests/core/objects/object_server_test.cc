// The client against object stores of others.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/objects/s3_client.h"
#include "tests/testing/object_server.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr int64_t kLeastPart = 5 << 20;  // of S3

class ObjectServerTest : public testing::TestWithParam<const char*> {
 protected:
  static void TearDownTestSuite() { Servers().clear(); }

  void SetUp() override {
    const auto python = TestPython();
    SKIP_WITHOUT_TEST_VENV(python);
    auto& server = Servers()[GetParam()];
    if (server == nullptr) server = ObjectServer::Start(GetParam(), *python);
    ASSERT_NE(server, nullptr) << GetParam() << " does not start";
    options_.endpoint = server->endpoint();
    options_.path_style = true;
    options_.credentials_file = server->credentials_file();
    options_.multipart_threshold_bytes = kLeastPart;
    options_.part_bytes = kLeastPart;
    auto client = S3Client::Create(options_);
    ASSERT_OK(client);
    client_ = *std::move(client);
  }
  static std::map<std::string, std::unique_ptr<ObjectServer>>& Servers() {
    static auto& servers = *new std::map<std::string, std::unique_ptr<ObjectServer>>();
    return servers;
  }
  absl::Status PutFile(const S3Location& object, const std::string& bytes, PutCondition condition) {
    const std::string path = JoinPath(MakeTempDir(), "file");
    RETURN_IF_ERROR(WriteFileDurably(RealFileSystem(), path, bytes));
    ASSIGN_OR_RETURN(const auto file, RealFileSystem().OpenForRead(path));
    return client_->PutFile(object, *file, condition);
  }

  S3Options options_;
  std::unique_ptr<S3Client> client_;
};

TEST_P(ObjectServerTest, ObjectsWithOddNamesComeBack) {
  for (const char* key :
       {"plain", "folder/sub/name.bin", "a b", "plus+and=equals&more", "per%cent", "~tilde_-.()'!*", "\xc3\xa4"}) {
    const S3Location object = {"artifacts", absl::StrCat("odd/", key)};
    ASSERT_OK(client_->Put(object, key, PutCondition::kAlways)) << key;
    const auto info = client_->Head(object);
    ASSERT_OK(info) << key;
    EXPECT_EQ(info->size_bytes, static_cast<int64_t>(std::string(key).size()));
    EXPECT_GT(info->modified, absl::UnixEpoch());
    EXPECT_EQ(client_->GetRange(object, {.size = info->size_bytes}).value_or("?"), key);
    ASSERT_OK_AND_ASSIGN(const auto listed, client_->List({"artifacts", absl::StrCat("odd/", key)}, 10));
    ASSERT_EQ(listed.size(), 1u) << key;
    EXPECT_EQ(listed[0].key, object.key);
    ASSERT_OK(client_->Delete(object));
    EXPECT_THAT(client_->Head(object), FailsWith("OBJECT_NOT_FOUND", "404"));
  }
}

TEST_P(ObjectServerTest, LargeFilesGoInParts) {
  std::string bytes(2 * kLeastPart + 12'345, 'x');
  for (size_t i = 0; i < bytes.size(); i += 1000) bytes[i] = static_cast<char>(i / 1000);
  const S3Location object = {"artifacts", "large/file"};
  ASSERT_OK(PutFile(object, bytes, PutCondition::kAlways));
  ASSERT_OK_AND_ASSIGN(const ObjectInfo info, client_->Head(object));
  ASSERT_EQ(info.size_bytes, static_cast<int64_t>(bytes.size()));
  const ObjectRange across_parts = {.offset = kLeastPart - 3, .size = 6, .if_etag = info.etag};
  ASSERT_OK_AND_ASSIGN(const std::string middle, client_->GetRange(object, across_parts));
  EXPECT_EQ(middle, bytes.substr(kLeastPart - 3, 6));
  for (const char* copy : {"large/copy", "large/copy in parts"}) {
    if (options_.copy_part_bytes == kLeastPart && std::string(GetParam()) == "rclone") break;  // it copies no parts
    ASSERT_OK(client_->Copy(object, {"artifacts", copy}, info.size_bytes));
    ASSERT_OK_AND_ASSIGN(const std::string all, client_->GetRange({"artifacts", copy}, {.size = info.size_bytes}));
    EXPECT_TRUE(all == bytes) << copy;
    options_.copy_part_bytes = kLeastPart;
    ASSERT_OK_AND_ASSIGN(client_, S3Client::Create(options_));
  }
}

TEST_P(ObjectServerTest, ListsAreLongerThanAPage) {
  for (int i = 0; i < 1005; ++i) {
    ASSERT_OK(client_->Put({"models", absl::StrFormat("many/%04d", i)}, "", PutCondition::kAlways)) << i;
  }
  ASSERT_OK_AND_ASSIGN(const auto objects, client_->List({"models", "many/"}, 2000));
  ASSERT_EQ(objects.size(), 1005u);
  EXPECT_EQ(objects.back().key, "many/1004");
  ASSERT_OK_AND_ASSIGN(const auto folders, client_->ListFolders({"models", ""}));
  EXPECT_THAT(folders, testing::ElementsAre("many"));
}

TEST_P(ObjectServerTest, WrongKeysAreDenied) {
  const std::string path = JoinPath(MakeTempDir(), "credentials");
  ASSERT_OK(WriteFileDurably(RealFileSystem(), path, "aws_access_key_id=nobody\naws_secret_access_key=wrong\n"));
  options_.credentials_file = path;
  ASSERT_OK_AND_ASSIGN(const auto client, S3Client::Create(options_));
  EXPECT_THAT(client->Put({"artifacts", "a"}, "", PutCondition::kAlways), FailsWith("OBJECT_STORE_DENIED", "HTTP 403"));
  EXPECT_THAT(client_->Put({"absent", "a"}, "", PutCondition::kAlways), FailsWith("OBJECT_NOT_FOUND", "NoSuchBucket"));
}

TEST_P(ObjectServerTest, WhatIsThereIsNotReplaced) {
  if (std::string(GetParam()) == "rclone") GTEST_SKIP() << "rclone's store knows no conditional writes";
  const S3Location object = {"artifacts", "conditional"};
  ASSERT_OK(client_->Put(object, "first", PutCondition::kIfAbsent));
  EXPECT_THAT(client_->Put(object, "second", PutCondition::kIfAbsent), FailsWith("OBJECT_EXISTS", "HTTP 412"));
  EXPECT_EQ(client_->GetRange(object, {.size = 5}).value_or("?"), "first");
}

TEST(ObjectServerTls, OnlyTheNamedAuthorityIsTrusted) {
  const auto python = TestPython();
  SKIP_WITHOUT_TEST_VENV(python);
  const auto server = ObjectServer::Start("moto-tls", *python);
  ASSERT_NE(server, nullptr);
  S3Options options = {
      .endpoint = server->endpoint(), .path_style = true, .credentials_file = server->credentials_file()};
  {
    ASSERT_OK_AND_ASSIGN(const auto client, S3Client::Create(options));
    EXPECT_THAT(client->Put({"artifacts", "a"}, "b", PutCondition::kAlways),
                FailsWith("OBJECT_STORE_UNTRUSTED", "s3_ca_file"));
  }
  options.transport.ca_file = server->ca_file();
  {
    ASSERT_OK_AND_ASSIGN(const auto client, S3Client::Create(options));
    ASSERT_OK(client->Put({"artifacts", "a"}, "b", PutCondition::kAlways));
    EXPECT_EQ(client->GetRange({"artifacts", "a"}, {.size = 1}).value_or("?"), "b");
  }
  options.transport.ca_file = "/no/such/file.pem";
  ASSERT_OK_AND_ASSIGN(const auto client, S3Client::Create(options));
  EXPECT_THAT(client->Put({"artifacts", "a"}, "b", PutCondition::kAlways),
              FailsWith("OBJECT_STORE_UNTRUSTED", "s3_ca_file"));
}

INSTANTIATE_TEST_SUITE_P(Stores, ObjectServerTest, testing::Values("moto", "rclone"),
                         [](const auto& row) { return std::string(row.param); });

}  // namespace
}  // namespace quantd
