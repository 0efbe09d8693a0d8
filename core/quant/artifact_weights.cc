#include "core/quant/artifact_weights.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/formats/checkpoint.h"

namespace quantd {
namespace {

constexpr absl::string_view kWeightSuffix = ".weight";

// Tensors "<site>.<suffix>" that are part of the packed weight: everything of the module but its bias.
std::vector<std::string> PackedNames(const std::string& site, const std::vector<std::string>& names) {
  const std::string prefix = site + ".";
  std::vector<std::string> packed;
  for (auto it = std::lower_bound(names.begin(), names.end(), prefix); it != names.end(); ++it) {
    if (!absl::StartsWith(*it, prefix)) break;
    if (*it != prefix + "bias") packed.push_back(*it);
  }
  return packed;
}

absl::StatusOr<StoredTensor> ReadStored(const WeightSource& stored, const std::string& site, const std::string& name) {
  StoredTensor tensor;
  tensor.suffix = name.substr(site.size() + 1);
  ASSIGN_OR_RETURN(tensor.dtype, stored.StoredDtype(name));
  ASSIGN_OR_RETURN(tensor.shape, stored.Shape(name));
  ASSIGN_OR_RETURN(const auto bytes, stored.StoredTensorBytes(name));
  tensor.bytes.assign(bytes.data(), bytes.size());
  return tensor;
}

absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadSite(const WeightSource& stored, const ManifestSite& site,
                                                          const std::vector<std::string>& packed) {
  std::vector<StoredTensor> tensors;
  for (const std::string& name : packed) {
    ASSIGN_OR_RETURN(StoredTensor tensor, ReadStored(stored, site.name, name));
    tensors.push_back(std::move(tensor));
  }
  const std::string what = absl::StrFormat("%s: site '%s'", stored.path(), site.name);
  ASSIGN_OR_RETURN(const Json description, ParseJson(site.description_json, what));
  return QuantizedWeightFromTensors(site.grid, description, std::move(tensors), site.rows, site.cols, what);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactWeights>> ArtifactWeights::Open(const std::string& folder) {
  auto artifact = std::unique_ptr<ArtifactWeights>(new ArtifactWeights);
  ASSIGN_OR_RETURN(artifact->manifest_, ReadManifest(folder));
  ASSIGN_OR_RETURN(artifact->stored_, OpenCheckpoint(folder));
  const std::vector<std::string> stored_names = artifact->stored_->Names();
  std::set<std::string> names(stored_names.begin(), stored_names.end());
  for (const ManifestSite& site : artifact->manifest_.sites) {
    const std::vector<std::string> packed = PackedNames(site.name, stored_names);
    ASSIGN_OR_RETURN(artifact->quantized_[site.name], ReadSite(*artifact->stored_, site, packed));
    for (const std::string& name : packed) names.erase(name);
    names.insert(absl::StrCat(site.name, kWeightSuffix));
  }
  artifact->names_.assign(names.begin(), names.end());
  return artifact;
}

const QuantizedWeight* ArtifactWeights::Quantized(absl::string_view site) const {
  const auto it = quantized_.find(site);
  return it == quantized_.end() ? nullptr : it->second.get();
}

const QuantizedWeight* ArtifactWeights::QuantizedTensor(absl::string_view tensor) const {
  if (!absl::EndsWith(tensor, kWeightSuffix)) return nullptr;
  return Quantized(tensor.substr(0, tensor.size() - kWeightSuffix.size()));
}

std::vector<std::string> ArtifactWeights::Names() const {
  return names_;
}

bool ArtifactWeights::Has(absl::string_view name) const {
  return std::binary_search(names_.begin(), names_.end(), name);
}

absl::StatusOr<std::vector<int64_t>> ArtifactWeights::Shape(absl::string_view name) const {
  const QuantizedWeight* weight = QuantizedTensor(name);
  if (weight == nullptr) return stored_->Shape(name);
  return std::vector<int64_t>{weight->rows(), weight->cols()};
}

absl::Status ArtifactWeights::ReadRows(absl::string_view name, int64_t first_row, int64_t rows,
                                       absl::Span<float> out) const {
  const QuantizedWeight* weight = QuantizedTensor(name);
  if (weight == nullptr) return stored_->ReadRows(name, first_row, rows, out);
  const bool fits = first_row >= 0 && rows >= 0 && first_row <= weight->rows() - rows &&
                    static_cast<int64_t>(out.size()) == rows * weight->cols();
  if (!fits) {
    return InvalidInput("TENSOR_WRONG_SHAPE",
                        absl::StrFormat("%s: tensor '%s' is [%d, %d]; rows %d to %d were wanted", path(), name,
                                        weight->rows(), weight->cols(), first_row, first_row + rows));
  }
  weight->DecodeRows(first_row, {out.data(), rows, weight->cols(), weight->cols()});
  return absl::OkStatus();
}

absl::StatusOr<Dtype> ArtifactWeights::StoredDtype(absl::string_view name) const {
  if (QuantizedTensor(name) == nullptr) return stored_->StoredDtype(name);
  return InvalidInput("TENSOR_NOT_DENSE", absl::StrFormat("%s: tensor '%s' is quantized", path(), name));
}

absl::StatusOr<absl::Span<const char>> ArtifactWeights::StoredTensorBytes(absl::string_view name) const {
  if (QuantizedTensor(name) == nullptr) return stored_->StoredTensorBytes(name);
  return InvalidInput("TENSOR_NOT_DENSE", absl::StrFormat("%s: tensor '%s' is quantized", path(), name));
}

}  // namespace quantd
