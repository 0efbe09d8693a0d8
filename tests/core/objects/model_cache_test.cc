// Models fetched once, kept while there is room, never half there.
#include "core/objects/model_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/testing/memory_s3.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using Files = std::map<std::string, std::string>;  // name -> bytes
using testing::ElementsAre;
using testing::IsEmpty;

class ModelCacheTest : public testing::Test {
 protected:
  ModelCacheTest() {
    const std::string credentials = JoinPath(MakeTempDir(), "credentials");
    EXPECT_OK(WriteFileDurably(RealFileSystem(), credentials, "aws_access_key_id=a\naws_secret_access_key=b\n"));
    store_ = {.endpoint = objects_.url(),
              .path_style = true,
              .credentials_file = credentials,
              .retry = {.attempts = 2, .first_pause = absl::Milliseconds(1)}};
    options_ = {.directory = JoinPath(MakeTempDir(), "cache"), .max_bytes = 1000, .prefixes = {{"models", "good"}}};
  }
  ModelCache& cache() {
    if (cache_ == nullptr) {
      auto opened = ModelCache::Open(options_, store_);
      EXPECT_OK(opened);
      cache_ = *std::move(opened);
    }
    return *cache_;
  }
  void PutModel(const std::string& name, const Files& files) {
    for (const auto& [file, bytes] : files) objects_.Put(absl::StrCat("/models/good/", name, "/", file), bytes);
  }
  absl::StatusOr<CachedModel> Fetch(const std::string& name, ModelExtent extent = ModelExtent::kWhole) {
    return cache().Fetch(absl::StrCat("s3://models/good/", name), extent, {});
  }
  Files Contents(const CachedModel& model) {
    const std::string folder = JoinPath(cache().models_folder(), model.digest());
    Files files;
    const auto names = RealFileSystem().ListDirectory(folder);
    EXPECT_OK(names);
    for (const std::string& name : *names) {
      files[name] = RealFileSystem().ReadFile(JoinPath(folder, name), 1 << 20).value_or("(unreadable)");
    }
    return files;
  }
  std::vector<std::string> Names(const std::string& folder) {
    return RealFileSystem().ListDirectory(JoinPath(options_.directory, folder)).value_or(std::vector<std::string>());
  }
  void ExpectNothingHalfDone() {
    for (const char* folder : {"partial", "reserved", "trash"}) EXPECT_THAT(Names(folder), IsEmpty()) << folder;
  }
  size_t Downloads() const {
    size_t count = 0;
    for (const ScriptedRequest& request : objects_.requests()) {
      count += request.method == "GET" && request.query.empty();
    }
    return count;
  }

  MemoryS3 objects_;
  S3Options store_;
  ModelCacheOptions options_;
  std::unique_ptr<ModelCache> cache_;
  const Files small_ = {{"config.json", "{}"}, {"model.safetensors", "weights"}};
};

TEST_F(ModelCacheTest, AModelIsFetchedOnceAndKept) {
  PutModel("tiny", small_);
  PutModel("tiny", {{"pytorch_model.bin", "never read"}, {"original/params.json", "a folder below"}});
  ASSERT_OK_AND_ASSIGN(const CachedModel first, Fetch("tiny"));
  EXPECT_EQ(Contents(first), small_);
  EXPECT_EQ(Downloads(), 2u);
  cache_.reset();
  ASSERT_OK_AND_ASSIGN(const CachedModel again, Fetch("tiny/"));
  EXPECT_EQ(again.digest(), first.digest());
  EXPECT_EQ(Downloads(), 2u) << "also after a restart";
  PutModel("same", small_);
  ASSERT_OK_AND_ASSIGN(const CachedModel same, Fetch("same"));
  EXPECT_EQ(same.digest(), first.digest()) << "named by what it holds, not by where it was";
  ExpectNothingHalfDone();
  EXPECT_EQ(Names("locks"), std::vector<std::string>({first.digest(), "room"}));
}

TEST_F(ModelCacheTest, AChangedModelIsAnother) {
  PutModel("tiny", small_);
  ASSERT_OK_AND_ASSIGN(const CachedModel first, Fetch("tiny"));
  PutModel("tiny", {{"config.json", "{1}"}});
  ASSERT_OK_AND_ASSIGN(const CachedModel second, Fetch("tiny"));
  EXPECT_NE(first.digest(), second.digest());
  EXPECT_EQ(Contents(first), small_) << "whoever uses the first still has it";
  EXPECT_EQ(Contents(second).at("config.json"), "{1}");
}

TEST_F(ModelCacheTest, ManyWhoWantOneModelShareOneDownload) {
  PutModel("tiny", small_);
  (void)cache();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this] {
      const auto model = Fetch("tiny");
      EXPECT_OK(model);
    });
  }
  // Another process, as far as locks of files can tell.
  ASSERT_OK_AND_ASSIGN(const auto other, ModelCache::Open(options_, store_));
  EXPECT_OK(other->Fetch("s3://models/good/tiny", ModelExtent::kWhole, {}));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Downloads(), 2u);
}

TEST_F(ModelCacheTest, TheLeastRecentlyUsedMakesRoomAndNothingInUse) {
  for (const char* name : {"a", "b", "c", "d"}) PutModel(name, {{"w", std::string(300, name[0])}});
  std::map<std::string, std::string> digests;
  for (const char* name : {"a", "b", "c", "a"}) digests[name] = Fetch(name)->digest();
  ASSERT_OK_AND_ASSIGN(const CachedModel d, Fetch("d"));
  EXPECT_THAT(Names("models"), testing::UnorderedElementsAre(digests["a"], digests["c"], d.digest())) << "b went";
  {
    ASSERT_OK_AND_ASSIGN(const CachedModel a, Fetch("a"));
    ASSERT_OK_AND_ASSIGN(const CachedModel c, Fetch("c"));
    EXPECT_THAT(Fetch("b"), FailsWith("MODEL_CACHE_FULL", "needs 300 bytes"));
    EXPECT_EQ(Contents(a).at("w"), std::string(300, 'a'));
  }
  EXPECT_OK(Fetch("b"));
  EXPECT_THAT(Names("models"), testing::Contains(d.digest())) << "still in use";
  ExpectNothingHalfDone();
}

TEST_F(ModelCacheTest, WhatNeverFitsIsSaidBeforeItIsFetched) {
  PutModel("large", {{"a", std::string(600, 'x')}, {"b", std::string(401, 'x')}});
  EXPECT_THAT(Fetch("large"), FailsWith("MODEL_EXCEEDS_CACHE", "1001 bytes"));
  EXPECT_EQ(Downloads(), 0u);
}

TEST_F(ModelCacheTest, OutlinesHaveSizesButFewBytes) {
  options_.outline_bytes = 10;
  options_.max_bytes = 100;
  PutModel("big", {{"config.json", "{\"a\": \"more than ten\"}"},
                   {"model.safetensors", "0123456789" + std::string(5000, 'x')}});
  EXPECT_THAT(Fetch("big"), FailsWith("MODEL_EXCEEDS_CACHE", ""));
  ASSERT_OK_AND_ASSIGN(const CachedModel outline, Fetch("big", ModelExtent::kOutline));
  const Files files = Contents(outline);
  EXPECT_EQ(files.at("config.json"), "{\"a\": \"more than ten\"}");
  EXPECT_EQ(files.at("model.safetensors"), "0123456789" + std::string(5000, '\0'));
  options_.max_bytes = 10'000;
  cache_.reset();
  ASSERT_OK_AND_ASSIGN(const CachedModel whole, Fetch("big"));
  EXPECT_NE(whole.digest(), outline.digest());
  EXPECT_EQ(Contents(whole).at("model.safetensors").back(), 'x');
}

TEST_F(ModelCacheTest, AModelThatChangesMeanwhileIsNotMixed) {
  PutModel("tiny", small_);
  objects_.SetFault([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (absl::EndsWith(request.path, "config.json")) PutModel("tiny", {{"model.safetensors", "changed"}});
    return std::nullopt;
  });
  const auto mixed = Fetch("tiny");
  EXPECT_EQ(mixed.status().code(), absl::StatusCode::kAborted);
  EXPECT_THAT(mixed, FailsWith("MODEL_CHANGED", "model.safetensors"));
  EXPECT_THAT(Names("models"), IsEmpty());
  ExpectNothingHalfDone();
  objects_.SetFault(nullptr);
  ASSERT_OK_AND_ASSIGN(const CachedModel model, Fetch("tiny"));
  EXPECT_EQ(Contents(model).at("model.safetensors"), "changed");
}

TEST_F(ModelCacheTest, AStoreThatFailsHalfwayLeavesNothing) {
  PutModel("tiny", small_);
  objects_.SetFault([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (!absl::EndsWith(request.path, "model.safetensors")) return std::nullopt;
    return ScriptedAnswer{.status = 206, .body = "weights", .cut_after = 3};
  });
  EXPECT_THAT(Fetch("tiny"), FailsWith("OBJECT_STORE_UNAVAILABLE", "given up"));
  EXPECT_THAT(Names("models"), IsEmpty());
  ExpectNothingHalfDone();
}

TEST_F(ModelCacheTest, AWishToStopIsHeard) {
  PutModel("tiny", small_);
  const absl::Status status = cache().Fetch("s3://models/good/tiny", ModelExtent::kWhole, [] { return true; }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  ExpectNothingHalfDone();
}

// A process that dies while it fetches: nothing is visible, and the next who needs room finds it free.
TEST_F(ModelCacheTest, ACrashHalfwayLeavesNothingHalfVisible) {
  PutModel("a", {{"1", std::string(600, 'a')}, {"2", std::string(300, 'a')}});
  PutModel("b", {{"1", std::string(900, 'b')}});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto dies_with_one_file_there = [&] {
      const auto listings = Names("partial");
      if (!listings.empty() && !Names("partial/" + listings[0]).empty()) _exit(7);
      return false;
    };
    const auto cache = ModelCache::Open(options_, store_);
    if (cache.ok()) (void)(*cache)->Fetch("s3://models/good/a", ModelExtent::kWhole, dies_with_one_file_there);
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 7) << "it was to die halfway";
  EXPECT_THAT(Names("models"), IsEmpty());
  EXPECT_EQ(Names("partial").size(), 1u);
  ASSERT_OK_AND_ASSIGN(const CachedModel b, Fetch("b"));
  EXPECT_EQ(Contents(b).at("1"), std::string(900, 'b'));
  ExpectNothingHalfDone();
}

TEST_F(ModelCacheTest, OnlyAllowedSourcesAreAsked) {
  for (const char* uri :
       {"s3://models/other/tiny", "s3://models/goodness/tiny", "s3://other/good/tiny", "s3://models/"}) {
    const auto model = cache().Fetch(uri, ModelExtent::kWhole, {});
    EXPECT_EQ(model.status().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(model, FailsWith("MODEL_SOURCE_REFUSED", "s3://models/good")) << uri;
  }
  for (const char* uri :
       {"s3://models/good/../other", "s3://models/good//x", "https://models/good/tiny", "good/tiny"}) {
    EXPECT_THAT(cache().Fetch(uri, ModelExtent::kWhole, {}), FailsWith("OBJECT_URI_INVALID", "")) << uri;
  }
  EXPECT_THAT(objects_.requests(), IsEmpty());
  EXPECT_THAT(Fetch("absent"), FailsWith("MODEL_NOT_FOUND", "s3://models/good/absent"));
  PutModel("odd", {{"a*b", ""}});
  EXPECT_THAT(Fetch("odd"), FailsWith("MODEL_FOLDER_INVALID", "a*b"));
}

TEST(ModelPrefixes, AreAListOfUris) {
  ASSERT_OK_AND_ASSIGN(const auto prefixes, ParseModelPrefixes(" s3://models/a/ , s3://whole-bucket,"));
  ASSERT_EQ(prefixes.size(), 2u);
  EXPECT_EQ(prefixes[0].key, "a");
  EXPECT_EQ(prefixes[1].bucket, "whole-bucket");
  EXPECT_TRUE(ParseModelPrefixes("")->empty());
  EXPECT_THAT(ParseModelPrefixes("s3://models/a,/srv/models"), FailsWith("OBJECT_URI_INVALID", "/srv/models"));
}

}  // namespace
}  // namespace quantd
