#include "core/formats/checkpoint.h"

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "tests/core/formats/safetensors_files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::ElementsAre;

constexpr char kIndex[] = "model.safetensors.index.json";

// Two shards: "a" and "b" in the first, "c" in the second.
void WriteTwoShards(const std::string& folder) {
  WriteSafetensors(JoinPath(folder, "model-00001-of-00002.safetensors"),
                   {FloatTensor("a", {2, 2}, {1, 2, 3, 4}), FloatTensor("b", {2}, {5, 6})});
  WriteSafetensors(JoinPath(folder, "model-00002-of-00002.safetensors"), {FloatTensor("c", {1, 2}, {7, 8})});
}

constexpr char kGoodIndex[] = R"({"metadata":{"total_size":32},"weight_map":{"a":"model-00001-of-00002.safetensors",)"
                              R"("b":"model-00001-of-00002.safetensors","c":"model-00002-of-00002.safetensors"}})";

struct BadFolder {
  const char* name;
  std::function<void(const std::string& folder)> spoil;  // of a folder with two good shards, without index
  const char* reason;
  const char* mentions;
};

std::function<void(const std::string&)> IndexIs(const std::string& text) {
  return [text](const std::string& folder) { WriteBytes(JoinPath(folder, kIndex), text); };
}

// An index that maps "a" and "b" as given and "c" rightly.
std::function<void(const std::string&)> MapIs(const std::string& rest) {
  return IndexIs(absl::StrCat(R"({"weight_map":{"c":"model-00002-of-00002.safetensors")", rest, "}}"));
}

void RemoveShards(const std::string& folder) {
  for (const char* shard : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}) {
    ASSERT_OK(RealFileSystem().RemoveFile(JoinPath(folder, shard)));
  }
}

std::vector<BadFolder> BadFolders() {
  const std::string first = R"("model-00001-of-00002.safetensors")";
  return {
      {"EmptyFolder", &RemoveShards, "MODEL_FOLDER_INVALID", "neither model.safetensors nor"},
      {"ShardsWithoutIndex", [](const std::string&) {}, "MODEL_FOLDER_INVALID", "neither model.safetensors nor"},
      {"PickleOnly",
       [](const std::string& folder) {
         RemoveShards(folder);
         WriteBytes(JoinPath(folder, "pytorch_model.bin"), "\x80\x02.");
       },
       "MODEL_FOLDER_INVALID", "convert them to safetensors"},
      {"IndexNotJson", IndexIs("{weight_map"), "INDEX_INVALID", kIndex},
      {"IndexIsAList", IndexIs("[]"), "INDEX_INVALID", "'weight_map'"},
      {"NoWeightMap", IndexIs(R"({"metadata":{}})"), "INDEX_INVALID", "'weight_map'"},
      {"EmptyWeightMap", IndexIs(R"({"weight_map":{}})"), "INDEX_INVALID", "'weight_map'"},
      {"WeightMapIsAList", IndexIs(R"({"weight_map":["a"]})"), "INDEX_INVALID", "'weight_map'"},
      {"FileIsANumber", MapIs(R"(,"a":1)"), "INDEX_INVALID", "'a'"},
      {"TensorMappedTwice", MapIs(absl::StrCat(",\"a\":", first, ",\"a\":", first)), "INDEX_INVALID", "appears twice"},
      {"ParentFolder", MapIs(R"(,"a":"..")"), "INDEX_INVALID", "'..'"},
      {"PathUpwards", MapIs(R"(,"a":"../model.safetensors")"), "INDEX_INVALID", "'../model.safetensors'"},
      {"AbsolutePath", MapIs(R"(,"a":"/etc/passwd")"), "INDEX_INVALID", "'/etc/passwd'"},
      {"Subfolder", MapIs(R"(,"a":"x/y.safetensors")"), "INDEX_INVALID", "beside the index"},
      {"EmptyFileName", MapIs(R"(,"a":"")"), "INDEX_INVALID", "''"},
      {"NulInFileName", MapIs(R"(,"a":"x\u0000y")"), "INDEX_INVALID", "not a file name"},
      {"MissingShard", MapIs(R"(,"a":"model-00003-of-00002.safetensors")"), "SHARD_MISSING",
       "model-00003-of-00002.safetensors"},
      {"UnmappedTensor", MapIs(absl::StrCat(",\"a\":", first)), "SHARD_TENSOR_MISMATCH", "does not list"},
      {"TensorInTheWrongShard", MapIs(absl::StrCat(",\"a\":", first, R"(,"b":"model-00002-of-00002.safetensors")")),
       "SHARD_TENSOR_MISMATCH", "'b'"},
      {"TensorInNoShard", MapIs(absl::StrCat(",\"a\":", first, ",\"b\":", first, ",\"d\":", first)),
       "SHARD_TENSOR_MISMATCH", "lacks tensor 'd'"},
      {"TensorInTwoShards",
       [](const std::string& folder) {
         WriteBytes(JoinPath(folder, kIndex), kGoodIndex);
         WriteSafetensors(JoinPath(folder, "model-00002-of-00002.safetensors"),
                          {FloatTensor("c", {1, 2}, {7, 8}), FloatTensor("a", {2, 2}, {1, 2, 3, 4})});
       },
       "SHARD_TENSOR_MISMATCH", "'a'"},
      {"TruncatedShard",
       [](const std::string& folder) {
         WriteBytes(JoinPath(folder, kIndex), kGoodIndex);
         std::filesystem::resize_file(JoinPath(folder, "model-00002-of-00002.safetensors"), 50);
       },
       "SAFETENSORS_TRUNCATED", "model-00002-of-00002.safetensors"},
      {"ShardIsALinkOutOfTheFolder",
       [](const std::string& folder) {
         WriteBytes(JoinPath(folder, kIndex), kGoodIndex);
         const std::string shard = JoinPath(folder, "model-00002-of-00002.safetensors");
         const std::string outside = JoinPath(MakeTempDir(), "secret.safetensors");
         std::filesystem::rename(shard, outside);
         std::filesystem::create_symlink(outside, shard);
       },
       "PATH_ESCAPES_ROOT", "outside"},
      {"ShardIsAFolder",
       [](const std::string& folder) {
         WriteBytes(JoinPath(folder, kIndex), kGoodIndex);
         const std::string shard = JoinPath(folder, "model-00002-of-00002.safetensors");
         std::filesystem::remove(shard);
         std::filesystem::create_directory(shard);
       },
       "NOT_A_REGULAR_FILE", "model-00002-of-00002.safetensors"},
  };
}

class BadCheckpoint : public testing::TestWithParam<BadFolder> {};

TEST_P(BadCheckpoint, IsRefusedWithReasonAndName) {
  const std::string folder = MakeTempDir();
  WriteTwoShards(folder);
  GetParam().spoil(folder);
  EXPECT_THAT(OpenCheckpoint(folder), FailsWith(GetParam().reason, GetParam().mentions));
}
INSTANTIATE_TEST_SUITE_P(Table, BadCheckpoint, testing::ValuesIn(BadFolders()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Checkpoint, FolderThatIsNotThere) {
  EXPECT_THAT(OpenCheckpoint(JoinPath(MakeTempDir(), "absent")), FailsWith("FILE_NOT_FOUND", "absent"));
}

TEST(Checkpoint, ShardsActAsOneModelAndTheIndexWins) {
  const std::string folder = MakeTempDir();
  WriteTwoShards(folder);
  WriteBytes(JoinPath(folder, kIndex), kGoodIndex);
  WriteSafetensors(JoinPath(folder, "model.safetensors"), {FloatTensor("ignored", {1}, {0})});
  ASSERT_OK_AND_ASSIGN(const auto source, OpenCheckpoint(folder));
  EXPECT_EQ(source->path(), folder);
  EXPECT_THAT(source->Names(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(source->StoredBytes(), 32u);
  std::vector<float> row(2);
  ASSERT_OK(source->ReadRows("a", 1, 1, absl::MakeSpan(row)));
  EXPECT_THAT(row, ElementsAre(3, 4));
  ASSERT_OK(source->ReadRows("b", 0, 2, absl::MakeSpan(row)));
  EXPECT_THAT(row, ElementsAre(5, 6));
  ASSERT_OK(source->ReadRows("c", 0, 1, absl::MakeSpan(row)));
  EXPECT_THAT(row, ElementsAre(7, 8));
}

TEST(Checkpoint, UnknownNamesAndWrongSizesAreRefused) {
  const std::string folder = MakeTempDir();
  WriteSafetensors(JoinPath(folder, "model.safetensors"), {FloatTensor("a", {2, 2}, {1, 2, 3, 4})});
  ASSERT_OK_AND_ASSIGN(const auto source, OpenCheckpoint(folder));
  std::vector<float> out(4);
  EXPECT_THAT(source->Shape("x"), FailsWith("TENSOR_MISSING", "'x'"));
  EXPECT_THAT(source->ReadRows("x", 0, 2, absl::MakeSpan(out)), FailsWith("TENSOR_MISSING", "'x'"));
  EXPECT_THAT(source->StoredTensorBytes("x"), FailsWith("TENSOR_MISSING", "'x'"));
  EXPECT_THAT(source->ReadRows("a", 1, 2, absl::MakeSpan(out)), FailsWith("TENSOR_WRONG_SHAPE", "'a'"));
  EXPECT_THAT(source->ReadRows("a", -1, 2, absl::MakeSpan(out)), FailsWith("TENSOR_WRONG_SHAPE", "'a'"));
  EXPECT_THAT(source->ReadRows("a", 0, 3, absl::MakeSpan(out)), FailsWith("TENSOR_WRONG_SHAPE", "'a'"));
  EXPECT_THAT(source->ReadRows("a", INT64_MAX, 1, absl::MakeSpan(out)), FailsWith("TENSOR_WRONG_SHAPE", "'a'"));
}

TEST(Checkpoint, IntegersAreNotWeights) {
  const std::string folder = MakeTempDir();
  WriteSafetensors(JoinPath(folder, "model.safetensors"), {{{"w", Dtype::kI32, {1, 2}}, std::string(8, '\1')}});
  ASSERT_OK_AND_ASSIGN(const auto source, OpenCheckpoint(folder));
  std::vector<float> out(2);
  EXPECT_THAT(source->ReadRows("w", 0, 1, absl::MakeSpan(out)), FailsWith("TENSOR_WRONG_DTYPE", "I32"));
  ASSERT_OK_AND_ASSIGN(const Dtype dtype, source->StoredDtype("w"));
  EXPECT_EQ(dtype, Dtype::kI32);
}

// [3, 7]: the bad value lies in a full run of lanes, in the tail, at both ends.
TEST(Checkpoint, ValuesThatAreNotFiniteAreNamedByIndex) {
  const float kBad[] = {std::nanf(""), -std::nanf(""), std::numeric_limits<float>::infinity(),
                        -std::numeric_limits<float>::infinity()};
  for (const float bad : kBad) {
    for (const int position : {0, 5, 16, 20}) {
      std::vector<float> values(21, std::numeric_limits<float>::max());
      values[position] = bad;
      const std::string folder = MakeTempDir();
      WriteSafetensors(JoinPath(folder, "model.safetensors"), {FloatTensor("w", {3, 7}, values)});
      ASSERT_OK_AND_ASSIGN(const auto source, OpenCheckpoint(folder));
      std::vector<float> out(21);
      EXPECT_THAT(source->ReadRows("w", 0, 3, absl::MakeSpan(out)),
                  FailsWith("TENSOR_NOT_FINITE", absl::StrCat("flat index ", position, ";")));
      const int64_t row = position / 7;
      out.resize(7);
      EXPECT_THAT(source->ReadRows("w", row, 1, absl::MakeSpan(out)),
                  FailsWith("TENSOR_NOT_FINITE", absl::StrCat("flat index ", position, ";")));
    }
  }
}

TEST(Checkpoint, AValueThatOverflowsF32IsNotFinite) {
  const double big = 1e300;
  const std::string folder = MakeTempDir();
  WriteSafetensors(JoinPath(folder, "model.safetensors"),
                   {{{"w", Dtype::kF64, {1}}, std::string(reinterpret_cast<const char*>(&big), 8)}});
  ASSERT_OK_AND_ASSIGN(const auto source, OpenCheckpoint(folder));
  float out = 0;
  EXPECT_THAT(source->ReadRows("w", 0, 1, {&out, 1}), FailsWith("TENSOR_NOT_FINITE", "'w'"));
}

// Large enough that pages are given back between reads; read by four threads at once.
TEST(Checkpoint, ConcurrentReadsOfLargeTensorsAgree) {
  constexpr int64_t kRows = 512;
  constexpr int64_t kCols = 1031;
  std::vector<float> values(kRows * kCols);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 9973);
  const std::string folder = MakeTempDir();
  WriteSafetensors(JoinPath(folder, "model.safetensors"), {FloatTensor("w", {kRows, kCols}, values)});
  ASSERT_OK_AND_ASSIGN(const auto source, OpenCheckpoint(folder));
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<float> out(values.size());
      for (int repeat = 0; repeat < 4; ++repeat) {
        if (source->ReadRows("w", 0, kRows, absl::MakeSpan(out)).ok() && out == values) ++equal[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, ElementsAre(4, 4, 4, 4));
}

TEST(Checkpoint, TheEmbeddedModelsOpen) {
  for (const char* name : {"data/models/quantd-tiny-llama", "data/models/quantd-tiny-opt"}) {
    ASSERT_OK_AND_ASSIGN(const auto source, OpenCheckpoint(SourcePath(name)));
    EXPECT_GT(source->Names().size(), 10u);
    for (const std::string& tensor : source->Names()) {
      ASSERT_OK_AND_ASSIGN(const std::vector<int64_t> shape, source->Shape(tensor));
      int64_t elements = 1;
      for (const int64_t dimension : shape) elements *= dimension;
      std::vector<float> out(static_cast<size_t>(elements));
      EXPECT_OK(source->ReadRows(tensor, 0, shape.empty() ? 1 : shape[0], absl::MakeSpan(out)));
    }
  }
}

}  // namespace
}  // namespace quantd
