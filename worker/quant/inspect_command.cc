#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/base/json.h"
#include "core/formats/model_files.h"
#include "core/formats/safetensors.h"
#include "core/model/architecture.h"
#include "core/pipeline/open_model.h"
#include "worker/quant/command.h"

namespace quantd {
namespace {

struct InspectFlags {
  std::string path, dump_dense;
};

Json SiteJson(const OpenedModel& opened, const LinearSite& site) {
  Json json{{"name", site.name}, {"block", site.block}, {"rows", site.rows}, {"cols", site.cols}};
  const QuantizedWeight* weight = opened.artifact == nullptr ? nullptr : opened.artifact->Quantized(site.name);
  json["scheme"] = weight == nullptr ? "dense" : weight->Summary();
  if (weight != nullptr) json["bits_per_weight"] = weight->BitsPerWeight();
  return json;
}

Json Describe(const OpenedModel& opened) {
  const ModelConfig& config = opened.model->config();
  Json json{{"path", opened.folder},
            {"kind", opened.artifact == nullptr ? "model" : "artifact"},
            {"architecture", config.architecture->name},
            {"blocks", config.blocks},
            {"hidden_size", config.hidden_size},
            {"heads", config.heads},
            {"kv_heads", config.kv_heads},
            {"head_size", config.head_size},
            {"vocabulary_size", config.vocabulary_size},
            {"context", config.context},
            {"tied_head", config.tied_head},
            {"tensor_bytes", opened.model->weights().StoredBytes()},
            {"sites", Json::array()}};
  for (const LinearSite& site : opened.model->sites()) json["sites"].push_back(SiteJson(opened, site));
  return json;
}

void Print(const Json& json) {
  std::printf("%s: %s, %s\n", json["path"].get<std::string>().c_str(), json["kind"].get<std::string>().c_str(),
              json["architecture"].get<std::string>().c_str());
  std::printf(
      "%lld blocks of width %lld, %lld heads (%lld kv) of %lld, vocabulary %lld, context %lld, %.2f MB of tensors\n",
      json["blocks"].get<long long>(), json["hidden_size"].get<long long>(), json["heads"].get<long long>(),
      json["kv_heads"].get<long long>(), json["head_size"].get<long long>(), json["vocabulary_size"].get<long long>(),
      json["context"].get<long long>(), json["tensor_bytes"].get<double>() / 1e6);
  for (const Json& site : json["sites"]) {
    std::printf("  %-44s %6lld x %-6lld %s\n", site["name"].get<std::string>().c_str(), site["rows"].get<long long>(),
                site["cols"].get<long long>(), site["scheme"].get<std::string>().c_str());
  }
}

// A checkpoint folder with every weight in f32: what the artifact means, for readers that know nothing of it.
absl::Status DumpDense(const OpenedModel& opened, const std::string& folder) {
  FileSystem& files = RealFileSystem();
  RETURN_IF_ERROR(files.CreateDirectories(folder));
  const WeightSource& weights = opened.model->weights();
  std::vector<TensorSpec> specs;
  for (const std::string& name : weights.Names()) {
    ASSIGN_OR_RETURN(std::vector<int64_t> shape, weights.Shape(name));
    specs.push_back({name, Dtype::kF32, std::move(shape)});
  }
  ASSIGN_OR_RETURN(const auto writer,
                   SafetensorsWriter::Create(files, JoinPath(folder, "model.safetensors"), specs, {{"format", "pt"}}));
  for (const TensorSpec& spec : specs) {
    std::vector<float> values(spec.size_bytes() / sizeof(float));
    const int64_t rows = spec.shape.empty() ? 1 : spec.shape[0];
    RETURN_IF_ERROR(weights.ReadRows(spec.name, 0, rows, absl::MakeSpan(values)));
    RETURN_IF_ERROR(writer->Append({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}));
  }
  RETURN_IF_ERROR(writer->Finish());
  return CopyModelFiles(files, opened.folder, folder);
}

absl::Status Run(const InspectFlags& flags) {
  ASSIGN_OR_RETURN(const OpenedModel opened, OpenModelFolder(flags.path, /*with_tokenizer=*/false));
  Json json = Describe(opened);
  if (opened.artifact != nullptr) {
    RETURN_IF_ERROR(VerifyFiles(opened.artifact->manifest(), flags.path));
    json["digests_verified"] = opened.artifact->manifest().files.size();
  }
  if (!flags.dump_dense.empty()) RETURN_IF_ERROR(DumpDense(opened, flags.dump_dense));
  if (JsonOutput()) {
    std::printf("%s", JsonText(json).c_str());
    return absl::OkStatus();
  }
  Print(json);
  if (opened.artifact != nullptr) {
    std::printf("%zu files have the digests of the manifest\n", opened.artifact->manifest().files.size());
  }
  return absl::OkStatus();
}

}  // namespace

void AddInspectCommand(CLI::App& app, CommandBody* chosen) {
  CLI::App* command =
      app.add_subcommand("inspect", "Show what a model or artifact holds; checks an artifact's digests");
  const auto flags = std::make_shared<InspectFlags>();
  command->add_option("path", flags->path, "Model or artifact folder")->required();
  command->add_option("--dump-dense", flags->dump_dense, "Also write all weights in f32 as a checkpoint folder");
  AddJsonFlag(*command);
  command->callback([flags, chosen] { *chosen = [flags] { return Run(*flags); }; });
}

}  // namespace quantd
