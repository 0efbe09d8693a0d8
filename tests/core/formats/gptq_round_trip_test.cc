// What the writer wrote, the independent reader decodes to the same bits.
#include <nlohmann/json.hpp>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/formats/checkpoint.h"
#include "core/formats/gptq_config.h"
#include "core/formats/gptq_reader.h"
#include "core/formats/gptq_writer.h"
#include "core/formats/load_certificate.h"
#include "tests/core/formats/gptq_modules.h"
#include "tests/core/formats/safetensors_files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// A folder with what a source model has beside its weights.
std::string SourceFolder() {
  const std::string folder = MakeTempDir();
  WriteBytes(JoinPath(folder, "config.json"), R"({"model_type":"llama","torch_dtype":"bfloat16"})");
  WriteBytes(JoinPath(folder, "tokenizer.json"), "{}");
  WriteBytes(JoinPath(folder, "README.md"), "not copied");
  return folder;
}

struct Export {
  GptqSettings settings;
  std::vector<OwnedGptqModule> modules;
  std::vector<TestTensor> dense;
};

void WriteExport(const Export& model, const std::string& folder) {
  GptqExport plan{.source_folder = SourceFolder(), .settings = model.settings, .dense = {}};
  for (const OwnedGptqModule& module : model.modules) plan.settings.modules.push_back(module.shape);
  for (const TestTensor& tensor : model.dense) plan.dense.push_back(tensor.spec);
  ASSERT_OK_AND_ASSIGN(const auto writer, GptqCheckpointWriter::Create(RealFileSystem(), folder, plan));
  for (const OwnedGptqModule& module : model.modules) ASSERT_OK(writer->AddModule(module.View()));
  for (const TestTensor& tensor : model.dense) ASSERT_OK(writer->AddDense(tensor.bytes));
  ASSERT_OK(writer->Finish());
}

// bits, group size, version, act-order
using Layout = std::tuple<int, int, GptqVersion, bool>;

class GptqRoundTrip : public testing::TestWithParam<Layout> {};

TEST_P(GptqRoundTrip, IsExact) {
  const auto [bits, group_size, version, act_order] = GetParam();
  Export model;
  model.settings.version = version;
  model.settings.scheme = {.bits = bits, .group_size = group_size, .symmetric = false, .act_order = act_order};
  const GptqModuleShape shape{
      .name = "model.layers.0.fc", .scheme = model.settings.scheme, .rows = 96, .cols = 384, .fused_set = ""};
  model.modules = {RandomGptqModule(shape, version == GptqVersion::kV1 ? 1 : 0, /*seed=*/bits)};
  const std::string folder = MakeTempDir();
  WriteExport(model, folder);

  ASSERT_OK_AND_ASSIGN(const auto reader, GptqReader::Open(folder));
  const std::vector<float> expected = model.modules[0].Decode();
  std::vector<float> decoded(expected.size());
  ASSERT_OK(reader->ReadRows(shape.name, 0, shape.rows, absl::MakeSpan(decoded)));
  EXPECT_EQ(decoded, expected);
  std::vector<float> part(7 * shape.cols);  // not a multiple of the reader's block of rows
  ASSERT_OK(reader->ReadRows(shape.name, 30, 7, absl::MakeSpan(part)));
  EXPECT_EQ(part, std::vector<float>(expected.begin() + 30 * shape.cols, expected.begin() + 37 * shape.cols));
}

std::string LayoutName(const testing::TestParamInfo<Layout>& test) {
  const auto& [bits, group_size, version, act_order] = test.param;
  return absl::StrCat("Bits", bits, "Group", group_size == -1 ? "Row" : absl::StrCat(group_size),
                      version == GptqVersion::kV1 ? "V1" : "V2", act_order ? "ActOrder" : "");
}
INSTANTIATE_TEST_SUITE_P(EveryLayout, GptqRoundTrip,
                         testing::Combine(testing::Values(2, 3, 4, 8), testing::Values(-1, 32, 64, 128),
                                          testing::Values(GptqVersion::kV1, GptqVersion::kV2), testing::Bool()),
                         &LayoutName);

// Two schemes, a dense linear, dense tensors and the files beside the weights.
Export MixedModel() {
  Export model;
  model.settings.scheme = {.bits = 4, .group_size = 32, .symmetric = true, .act_order = false};
  model.settings.dense_modules = {"model.layers.0.mlp.gate"};
  model.settings.quantizer = "quantd:0.1.0";
  GptqModuleShape first{
      .name = "model.layers.0.q", .scheme = model.settings.scheme, .rows = 32, .cols = 64, .fused_set = ""};
  GptqModuleShape second = first;
  second.name = "model.layers.0.k";
  second.scheme = {.bits = 3, .group_size = 64, .symmetric = false, .act_order = false};
  model.modules = {RandomGptqModule(first, 0, 1), RandomGptqModule(second, 1, 2)};
  model.dense = {FloatTensor("model.layers.0.mlp.gate.weight", {2, 2}, {1, 2, 3, 4}),
                 FloatTensor("model.norm.weight", {3}, {5, 6, 7})};
  return model;
}

TEST(GptqWriter, WritesAFolderThatLoadersUnderstand) {
  const Export model = MixedModel();
  const std::string folder = JoinPath(MakeTempDir(), "exports/gptq");
  WriteExport(model, folder);
  ASSERT_OK_AND_ASSIGN(const auto names, RealFileSystem().ListDirectory(folder));
  EXPECT_THAT(names,
              testing::ElementsAre("config.json", "model.safetensors", "quantize_config.json", "tokenizer.json"));
  ASSERT_OK_AND_ASSIGN(const Json config, ReadJsonFile(JoinPath(folder, "config.json")));
  ASSERT_OK_AND_ASSIGN(const Json own, ReadJsonFile(JoinPath(folder, "quantize_config.json")));
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["torch_dtype"], "float16");
  EXPECT_EQ(config["quantization_config"], own);
  EXPECT_EQ(own, Json::parse(R"({"quant_method": "gptq", "method": "gptq", "checkpoint_format": "gptq",
      "format": "gptq", "bits": 4, "group_size": 32, "sym": true, "desc_act": false, "lm_head": false,
      "pack_dtype": "int32",
      "dynamic": {"+:^model\\.layers\\.0\\.k$": {"bits": 3, "group_size": 64, "sym": false, "desc_act": false},
                  "-:^model\\.layers\\.0\\.mlp\\.gate$": {}},
      "meta": {"quantizer": ["quantd:0.1.0"], "damp_percent": 0.01, "true_sequential": true,
               "static_groups": false}})"));
}

TEST(GptqWriter, MixedSchemesAndDenseTensorsAreReadBack) {
  const Export model = MixedModel();
  const std::string folder = MakeTempDir();
  WriteExport(model, folder);
  ASSERT_OK_AND_ASSIGN(const auto reader, GptqReader::Open(folder));
  LoadCertificate certificate;
  for (const OwnedGptqModule& module : model.modules) {
    std::vector<float> decoded(module.codes.size());
    ASSERT_OK(reader->ReadRows(module.shape.name, 0, module.shape.rows, absl::MakeSpan(decoded)));
    certificate.Compare(module.shape.name, module.Decode(), decoded);
  }
  EXPECT_TRUE(certificate.exact());
  EXPECT_EQ(certificate.modules, 2);
  std::vector<float> norm(3);
  ASSERT_OK(reader->tensors().ReadRows("model.norm.weight", 0, 3, absl::MakeSpan(norm)));
  EXPECT_THAT(norm, testing::ElementsAre(5, 6, 7));
}

TEST(GptqWriter, TheSameModelGivesTheSameBytes) {
  const std::string folders[] = {MakeTempDir(), MakeTempDir()};
  for (const std::string& folder : folders) WriteExport(MixedModel(), folder);
  for (const char* name : {"model.safetensors", "config.json", "quantize_config.json"}) {
    ASSERT_OK_AND_ASSIGN(const std::string first, RealFileSystem().ReadFile(JoinPath(folders[0], name), 1 << 20));
    ASSERT_OK_AND_ASSIGN(const std::string second, RealFileSystem().ReadFile(JoinPath(folders[1], name), 1 << 20));
    EXPECT_EQ(first, second) << name;
  }
}

TEST(GptqWriter, RefusesBeforeItWrites) {
  GptqModuleShape bad{.name = "fc", .scheme = {.bits = 4, .group_size = 48}, .rows = 32, .cols = 64, .fused_set = ""};
  const std::string folder = JoinPath(MakeTempDir(), "new");
  GptqExport plan{.source_folder = SourceFolder(), .settings = {}, .dense = {}};
  plan.settings.modules = {bad};
  EXPECT_THAT(GptqCheckpointWriter::Create(RealFileSystem(), folder, plan),
              FailsWith("EXPORT_TARGET_CANNOT_HOLD", "fc"));
  plan.settings.modules.clear();
  plan.dense = {{"position_ids", Dtype::kI64, {4}}};
  EXPECT_THAT(GptqCheckpointWriter::Create(RealFileSystem(), folder, plan),
              FailsWith("EXPORT_TARGET_CANNOT_HOLD", "position_ids"));
  EXPECT_FALSE(RealFileSystem().Exists(folder));
}

TEST(GptqWriter, KeepsThePlannedOrder) {
  const Export model = MixedModel();
  GptqExport plan{.source_folder = SourceFolder(), .settings = model.settings, .dense = {model.dense[0].spec}};
  plan.settings.modules = {model.modules[0].shape, model.modules[1].shape};
  ASSERT_OK_AND_ASSIGN(const auto writer, GptqCheckpointWriter::Create(RealFileSystem(), MakeTempDir(), plan));
  EXPECT_EQ(writer->AddDense(model.dense[0].bytes).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(writer->AddModule(model.modules[1].View()).code(), absl::StatusCode::kInternal);
  ASSERT_OK(writer->AddModule(model.modules[0].View()));
  ASSERT_OK(writer->AddModule(model.modules[1].View()));
  EXPECT_EQ(writer->AddDense("short").code(), absl::StatusCode::kInternal);
  EXPECT_EQ(writer->Finish().code(), absl::StatusCode::kInternal) << "a dense tensor is still missing";
  ASSERT_OK(writer->AddDense(model.dense[0].bytes));
  EXPECT_OK(writer->Finish());
}

TEST(GptqConfig, PatternsMatchOneNameOnly) {
  EXPECT_EQ(ExactNamePattern("a.b-1_c[0]"), R"(^a\.b-1_c\[0\]$)");
}

TEST(GptqReader, AModuleThatIsNotThere) {
  const std::string folder = MakeTempDir();
  WriteExport(MixedModel(), folder);
  ASSERT_OK_AND_ASSIGN(const auto reader, GptqReader::Open(folder));
  std::vector<float> out(64);
  EXPECT_THAT(reader->ReadRows("model.layers.9.q", 0, 1, absl::MakeSpan(out)),
              FailsWith("TENSOR_MISSING", "model.layers.9.q"));
  EXPECT_THAT(reader->ReadRows("model.layers.0.q", 32, 1, absl::MakeSpan(out)),
              FailsWith("TENSOR_WRONG_SHAPE", "32 x 64"));
  EXPECT_THAT(reader->ReadRows("model.layers.0.q", 0, 2, absl::MakeSpan(out)),
              FailsWith("TENSOR_WRONG_SHAPE", "32 x 64"));
}

}  // namespace
}  // namespace quantd
