#include "core/pipeline/artifact_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/formats/model_files.h"
#include "core/model/tensor_names.h"

namespace quantd {
namespace {

constexpr char kIndexFile[] = "model.safetensors.index.json";

}  // namespace

ArtifactWriter::ArtifactWriter(FileSystem& files, std::string folder, const Transformer& model)
    : files_(files), folder_(std::move(folder)), model_(model) {}

std::string ArtifactWriter::ShardName(int index) const {
  return absl::StrFormat("model-%05d-of-%05d.safetensors", index + 1, model_.config().blocks + 1);
}

std::vector<std::string> ArtifactWriter::DenseNames(int block) const {
  std::set<std::string> packed;
  for (const ManifestSite& site : sites_) packed.insert(site.name + ".weight");
  std::vector<std::string> prefixes;
  for (int b = 0; b < model_.config().blocks; ++b) prefixes.push_back(BlockPrefix(model_.config(), b));
  std::vector<std::string> names;
  for (const std::string& name : model_.weights().Names()) {
    if (packed.count(name) != 0) continue;
    const auto of_block = std::find_if(prefixes.begin(), prefixes.end(),
                                       [&](const std::string& prefix) { return absl::StartsWith(name, prefix); });
    const int owner = of_block == prefixes.end() ? -1 : static_cast<int>(of_block - prefixes.begin());
    if (owner == block) names.push_back(name);
  }
  return names;
}

absl::Status ArtifactWriter::AddDense(const std::vector<std::string>& names, std::vector<Tensor>& tensors) const {
  const WeightSource& source = model_.weights();
  for (const std::string& name : names) {
    Tensor tensor;
    tensor.spec.name = name;
    ASSIGN_OR_RETURN(tensor.spec.dtype, source.StoredDtype(name));
    ASSIGN_OR_RETURN(tensor.spec.shape, source.Shape(name));
    ASSIGN_OR_RETURN(const auto bytes, source.StoredTensorBytes(name));
    tensor.bytes = {bytes.data(), bytes.size()};
    tensors.push_back(std::move(tensor));
  }
  return absl::OkStatus();
}

absl::Status ArtifactWriter::WriteShard(int index, std::vector<Tensor> tensors) {
  // Wide elements first, then by name: every tensor is naturally aligned, and the order depends on nothing else.
  std::sort(tensors.begin(), tensors.end(), [](const Tensor& a, const Tensor& b) {
    const int a_bytes = DtypeBytes(a.spec.dtype), b_bytes = DtypeBytes(b.spec.dtype);
    return a_bytes != b_bytes ? a_bytes > b_bytes : a.spec.name < b.spec.name;
  });
  std::vector<TensorSpec> specs;
  for (const Tensor& tensor : tensors) specs.push_back(tensor.spec);
  const std::string file = ShardName(index);
  ASSIGN_OR_RETURN(const auto writer,
                   SafetensorsWriter::Create(files_, JoinPath(folder_, file), specs, {{"format", "pt"}}));
  for (const Tensor& tensor : tensors) {
    RETURN_IF_ERROR(writer->Append({tensor.bytes.data(), tensor.bytes.size()}));
    index_.emplace_back(tensor.spec.name, file);
    tensor_bytes_ += tensor.bytes.size();
  }
  return writer->Finish();
}

std::string ArtifactWriter::ShardPath(int block) const {
  return JoinPath(folder_, ShardName(block));
}

absl::Status ArtifactWriter::RestoreBlock(int block, const std::vector<LayerRecord>& layers) {
  ASSIGN_OR_RETURN(const SafetensorsFile shard, SafetensorsFile::Open(ShardPath(block)));
  for (const LayerRecord& layer : layers) sites_.push_back(ManifestSiteOf(layer, ShardName(block)));
  for (const TensorEntry& tensor : shard.tensors()) {
    index_.emplace_back(tensor.name, ShardName(block));
    tensor_bytes_ += tensor.size_bytes();
  }
  return absl::OkStatus();
}

absl::Status ArtifactWriter::AddBlock(int block, const std::vector<QuantizedSite>& sites,
                                      const std::vector<LayerRecord>& layers) {
  std::vector<std::vector<StoredTensor>> packed;  // owns the bytes until the shard is written
  std::vector<Tensor> tensors;
  for (const LayerRecord& layer : layers) sites_.push_back(ManifestSiteOf(layer, ShardName(block)));
  for (const QuantizedSite& site : sites) packed.push_back(site.result.weight->ToTensors());
  for (size_t i = 0; i < sites.size(); ++i) {
    for (const StoredTensor& tensor : packed[i]) {
      const std::string name = absl::StrCat(sites[i].plan->site.name, ".", tensor.suffix);
      tensors.push_back({{name, tensor.dtype, tensor.shape}, tensor.bytes});
    }
  }
  RETURN_IF_ERROR(AddDense(DenseNames(block), tensors));
  return WriteShard(block, std::move(tensors));
}

absl::Status ArtifactWriter::Finish(const std::string& source_folder) {
  std::vector<Tensor> tensors;
  RETURN_IF_ERROR(AddDense(DenseNames(-1), tensors));
  RETURN_IF_ERROR(WriteShard(model_.config().blocks, std::move(tensors)));
  Json weight_map = Json::object();
  for (const auto& [tensor, file] : index_) weight_map[tensor] = file;
  const Json index = {{"metadata", {{"total_size", tensor_bytes_}}}, {"weight_map", std::move(weight_map)}};
  // No durable step: the folder is not the result yet.
  RETURN_IF_ERROR(WriteFileDurably(files_, JoinPath(folder_, kIndexFile), JsonText(index)));
  return CopyModelFiles(files_, source_folder, folder_);
}

}  // namespace quantd
