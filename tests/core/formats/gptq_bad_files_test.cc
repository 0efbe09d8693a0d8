// GPTQ folders that the reader must refuse.
#include <cstring>
#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/formats/gptq_reader.h"
#include "tests/core/formats/gptq_modules.h"
#include "tests/core/formats/safetensors_files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// A folder in pieces, to be spoilt before it is written: one 4-bit module "fc" [16, 64], group 32, version 1.
struct Folder {
  std::map<std::string, TestTensor> tensors;
  std::string config =
      R"({"quantization_config":{"quant_method":"gptq","checkpoint_format":"gptq","bits":4,"group_size":32}})";

  TestTensor& At(const std::string& name) { return tensors.at(name); }
  void SetWord(const std::string& name, size_t index, uint32_t word) {
    std::memcpy(At(name).bytes.data() + 4 * index, &word, 4);
  }
  void SetConfig(const std::string& object) { config = absl::StrCat("{\"quantization_config\":", object, "}"); }
  // Declares another shape and cuts or fills the bytes to it.
  void Reshape(const std::string& name, const std::vector<int64_t>& shape) {
    At(name).spec.shape = shape;
    At(name).bytes.resize(At(name).spec.size_bytes());
  }
};

Folder GoodFolder() {
  const GptqModuleShape shape{.name = "fc", .scheme = {.group_size = 32}, .rows = 16, .cols = 64, .fused_set = ""};
  const OwnedGptqModule module = RandomGptqModule(shape, 1, 5);
  Folder folder;
  auto packed = PackGptqModule(module.View(), GptqVersion::kV1);
  for (GptqTensor& tensor : *packed) folder.tensors[tensor.spec.name] = {tensor.spec, tensor.bytes};
  return folder;
}

absl::Status OpenStatus(const Folder& folder) {
  const std::string path = MakeTempDir();
  std::vector<TestTensor> tensors;
  for (const auto& [name, tensor] : folder.tensors) tensors.push_back(tensor);
  WriteSafetensors(JoinPath(path, "model.safetensors"), tensors);
  if (!folder.config.empty()) WriteBytes(JoinPath(path, "config.json"), folder.config);
  return GptqReader::Open(path).status();
}

constexpr char kConfig[] = "GPTQ_CONFIG_INVALID";
constexpr char kModule[] = "GPTQ_MODULE_INVALID";

struct BadFolder {
  const char* name;
  std::function<void(Folder&)> spoil;
  const char* reason;
  const char* mentions;
};

std::vector<BadFolder> BadFolders() {
  const auto config = [](const std::string& object) { return [object](Folder& f) { f.SetConfig(object); }; };
  const auto without = [](const std::string& name) { return [name](Folder& f) { f.tensors.erase(name); }; };
  return {
      {"NoConfigAtAll", [](Folder& f) { f.config.clear(); }, kConfig, "not a GPTQ checkpoint"},
      {"ConfigWithoutScheme", [](Folder& f) { f.config = "{}"; }, kConfig, "not a GPTQ checkpoint"},
      {"SchemeIsAList", config("[]"), kConfig, "not an object"},
      {"OtherMethod", config(R"({"quant_method":"awq","bits":4})"), kConfig, "'awq'"},
      {"MethodAndAliasDisagree", config(R"({"quant_method":"gptq","method":"awq","bits":4})"), kConfig, "'awq'"},
      {"PlanarFormat", config(R"({"checkpoint_format":"gptq_p","bits":5})"), kConfig, "'gptq_p'"},
      {"FormatAndAliasDisagree", config(R"({"checkpoint_format":"gptq","format":"gptq_v2","bits":4})"), kConfig,
       "gptq_v2"},
      {"NoBits", config(R"({"quant_method":"gptq"})"), kConfig, "bits is 0"},
      {"FiveBits", config(R"({"bits":5,"group_size":32})"), kConfig, "bits is 5"},
      {"BitsAsText", config(R"({"bits":"4","group_size":32})"), "JSON_FIELD_TYPE", "'bits'"},
      {"BitsAsFloat", config(R"({"bits":4.0,"group_size":32})"), "JSON_FIELD_TYPE", "'bits'"},
      {"GroupSizeZero", config(R"({"bits":4,"group_size":0})"), kConfig, "group_size is 0"},
      {"OtherBitsThanPacked", config(R"({"bits":8,"group_size":32})"), kModule, "'qweight'"},
      {"OtherGroupThanPacked", config(R"({"bits":4,"group_size":64})"), kModule, "'qzeros'"},
      {"PatternWithWildcard", config(R"({"bits":4,"group_size":32,"dynamic":{"+:.*fc":{"bits":8}}})"), kConfig,
       "only '^name$'"},
      {"PatternWithClass", config(R"({"bits":4,"group_size":32,"dynamic":{"-:^f\\w$":{}}})"), kConfig, "only '^name$'"},
      {"DynamicIsAList", config(R"({"bits":4,"group_size":32,"dynamic":[]})"), kConfig, "'dynamic'"},
      {"PackedButDeclaredDense", config(R"({"bits":4,"group_size":32,"dynamic":{"-:^fc$":{}}})"), kModule, "dense"},
      {"NoModule",
       [](Folder& f) {
         f.tensors = {{"w", FloatTensor("w", {1}, {1})}};
       },
       kConfig, "no tensor is packed"},
      {"ZerosMissing", without("fc.qzeros"), kModule, "'qzeros' is missing"},
      {"ScalesMissing", without("fc.scales"), kModule, "'scales' is missing"},
      {"GroupIndexMissing", without("fc.g_idx"), kModule, "'g_idx' is missing"},
      {"WeightMissing",
       [](Folder& f) {
         f.tensors["gc.scales"] = f.tensors["fc.scales"];
         f.At("gc.scales").spec.name = "gc.scales";
       },
       kModule, "'gc'"},
      {"WeightOfWrongType", [](Folder& f) { f.At("fc.qweight").spec.dtype = Dtype::kU32; }, kModule, "U32"},
      {"ScalesOfWrongType", [](Folder& f) { f.At("fc.scales").spec.dtype = Dtype::kI16; }, kModule, "I16"},
      {"WeightIsAVector", [](Folder& f) { f.Reshape("fc.qweight", {128}); }, kModule, "qweight a matrix"},
      {"WeightTooShort",
       [](Folder& f) {
         f.Reshape("fc.qweight", {7, 16});
       },
       kModule, "'qweight'"},
      {"OutputsDoNotFillWords",
       [](Folder& f) {
         f.Reshape("fc.qweight", {8, 12});
       },
       kModule, "size 12"},
      {"InputsDoNotFillWords", [](Folder& f) { f.Reshape("fc.g_idx", {63}); }, kModule, "size 63"},
      {"NoInputs", [](Folder& f) { f.Reshape("fc.g_idx", {0}); }, kModule, "size 0"},
      {"ScalesTransposed",
       [](Folder& f) {
         f.Reshape("fc.scales", {16, 2});
       },
       kModule, "'scales'"},
      {"ZerosOfAnotherGroupCount",
       [](Folder& f) {
         f.Reshape("fc.qzeros", {1, 2});
       },
       kModule, "'qzeros'"},
      {"GroupIndexTooLarge", [](Folder& f) { f.SetWord("fc.g_idx", 7, 2); }, kModule, "g_idx[7] is 2"},
      {"GroupIndexNegative", [](Folder& f) { f.SetWord("fc.g_idx", 7, 0xffffffff); }, kModule, "g_idx[7] is -1"},
      {"GroupIndexOutOfOrder", [](Folder& f) { f.SetWord("fc.g_idx", 7, 1); }, kModule, "without desc_act"},
      // 0xf in version 1 reads as 16: what a wrapped 0 looks like.
      {"WrappedZero", [](Folder& f) { f.SetWord("fc.qzeros", 1, 0x777f7777); }, "GPTQ_ZERO_AMBIGUOUS",
       "row 12, group 0"},
      {"ScaleInfinite",
       [](Folder& f) {
         const uint16_t infinity = 0x7c00;
         std::memcpy(f.At("fc.scales").bytes.data() + 2 * 17, &infinity, 2);
       },
       kModule, "row 1, group 1"},
      {"ScaleNegative",
       [](Folder& f) {
         const uint16_t minus_one = 0xbc00;
         std::memcpy(f.At("fc.scales").bytes.data() + 2 * 3, &minus_one, 2);
       },
       kModule, "row 3, group 0 is -1"},
  };
}

class GptqBadFolder : public testing::TestWithParam<BadFolder> {};

TEST_P(GptqBadFolder, IsRefusedWithReasonAndName) {
  Folder folder = GoodFolder();
  GetParam().spoil(folder);
  EXPECT_THAT(OpenStatus(folder), FailsWith(GetParam().reason, GetParam().mentions));
}
INSTANTIATE_TEST_SUITE_P(Table, GptqBadFolder, testing::ValuesIn(BadFolders()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(GptqBadFiles, TheUnspoiltFolderOpens) {
  EXPECT_OK(OpenStatus(GoodFolder()));
}

TEST(GptqBadFiles, TheSameZerosAreLegalInVersionTwo) {
  Folder folder = GoodFolder();
  folder.SetWord("fc.qzeros", 1, 0x777f7777);
  folder.SetConfig(R"({"format":"gptq_v2","bits":4,"group_size":32})");
  EXPECT_OK(OpenStatus(folder));
}

TEST(GptqBadFiles, ActOrderAllowsAnyGroupInRange) {
  Folder folder = GoodFolder();
  folder.SetWord("fc.g_idx", 7, 1);
  folder.SetConfig(R"({"bits":4,"group_size":32,"desc_act":true})");
  EXPECT_OK(OpenStatus(folder));
}

}  // namespace
}  // namespace quantd
