#include "core/quant/artifact_weights.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
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

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactWeights>> ArtifactWeights::Open(const std::string& folder, ArtifactHold hold) {
  auto artifact = std::unique_ptr<ArtifactWeights>(new ArtifactWeights);
  ASSIGN_OR_RETURN(artifact->manifest_, ReadManifest(folder));
  ASSIGN_OR_RETURN(artifact->stored_, OpenCheckpoint(folder));
  const std::vector<std::string> stored_names = artifact->stored_->Names();
  std::set<std::string> names(stored_names.begin(), stored_names.end());
  for (const ManifestSite& manifest_site : artifact->manifest_.sites) {
    Site site = {&manifest_site, PackedNames(manifest_site.name, stored_names), nullptr};
    ASSIGN_OR_RETURN(SharedWeight weight, artifact->ReadSite(site));
    if (hold == ArtifactHold::kPacked) site.held = std::move(weight);
    for (const std::string& name : site.tensors) names.erase(name);
    names.insert(absl::StrCat(manifest_site.name, kWeightSuffix));
    artifact->sites_[manifest_site.name] = std::move(site);
  }
  artifact->names_.assign(names.begin(), names.end());
  return artifact;
}

absl::StatusOr<ArtifactWeights::SharedWeight> ArtifactWeights::ReadSite(const Site& site) const {
  if (site.held != nullptr) return site.held;
  const ManifestSite& manifest = *site.manifest;
  std::vector<StoredTensor> tensors;
  for (const std::string& name : site.tensors) {
    ASSIGN_OR_RETURN(StoredTensor tensor, ReadStored(*stored_, manifest.name, name));
    stored_->ReleaseStored(name);  // the copy is what stays
    tensors.push_back(std::move(tensor));
  }
  const std::string what = absl::StrFormat("%s: site '%s'", path(), manifest.name);
  ASSIGN_OR_RETURN(const Json description, ParseJson(manifest.description_json, what));
  ASSIGN_OR_RETURN(auto weight, QuantizedWeightFromTensors(manifest.grid, description, std::move(tensors),
                                                           manifest.rows, manifest.cols, what));
  return SharedWeight(std::move(weight));
}

const QuantizedWeight* ArtifactWeights::Quantized(absl::string_view site) const {
  const auto it = sites_.find(site);
  return it == sites_.end() ? nullptr : it->second.held.get();
}

const ArtifactWeights::Site* ArtifactWeights::SiteOf(absl::string_view tensor) const {
  if (!absl::EndsWith(tensor, kWeightSuffix)) return nullptr;
  const auto it = sites_.find(tensor.substr(0, tensor.size() - kWeightSuffix.size()));
  return it == sites_.end() ? nullptr : &it->second;
}

std::vector<std::string> ArtifactWeights::Names() const {
  return names_;
}

bool ArtifactWeights::Has(absl::string_view name) const {
  return std::binary_search(names_.begin(), names_.end(), name);
}

absl::StatusOr<std::vector<int64_t>> ArtifactWeights::Shape(absl::string_view name) const {
  const Site* const site = SiteOf(name);
  if (site == nullptr) return stored_->Shape(name);
  return std::vector<int64_t>{site->manifest->rows, site->manifest->cols};
}

absl::Status ArtifactWeights::ReadRows(absl::string_view name, int64_t first_row, int64_t rows,
                                       absl::Span<float> out) const {
  const Site* const site = SiteOf(name);
  if (site == nullptr) return stored_->ReadRows(name, first_row, rows, out);
  const int64_t all_rows = site->manifest->rows, cols = site->manifest->cols;
  const bool fits =
      first_row >= 0 && rows >= 0 && first_row <= all_rows - rows && static_cast<int64_t>(out.size()) == rows * cols;
  if (!fits) {
    return InvalidInput("TENSOR_WRONG_SHAPE",
                        absl::StrFormat("%s: tensor '%s' is [%d, %d]; rows %d to %d were wanted", path(), name,
                                        all_rows, cols, first_row, first_row + rows));
  }
  ASSIGN_OR_RETURN(const SharedWeight weight, ReadSite(*site));
  weight->DecodeRows(first_row, {out.data(), rows, cols, cols});
  return absl::OkStatus();
}

absl::StatusOr<Dtype> ArtifactWeights::StoredDtype(absl::string_view name) const {
  if (SiteOf(name) == nullptr) return stored_->StoredDtype(name);
  return InvalidInput("TENSOR_NOT_DENSE", absl::StrFormat("%s: tensor '%s' is quantized", path(), name));
}

absl::StatusOr<absl::Span<const char>> ArtifactWeights::StoredTensorBytes(absl::string_view name) const {
  if (SiteOf(name) == nullptr) return stored_->StoredTensorBytes(name);
  return InvalidInput("TENSOR_NOT_DENSE", absl::StrFormat("%s: tensor '%s' is quantized", path(), name));
}

absl::StatusOr<std::unique_ptr<LinearWeight>> ArtifactWeights::LoadLinear(absl::string_view name,
                                                                          PlaneArithmetic arithmetic) const {
  const Site* const site = SiteOf(name);
  if (site == nullptr) return stored_->LoadLinear(name, arithmetic);
  ASSIGN_OR_RETURN(const SharedWeight weight, ReadSite(*site));
  std::optional<BinaryPlanes> planes = weight->ToPlanes();
  if (!planes.has_value()) return std::make_unique<DenseLinear>(weight->Decode());
  return std::make_unique<PlanesLinear>(*std::move(planes), arithmetic);
}

// Planes take what is stored and, with rounded shapes, a little more.
absl::StatusOr<double> ArtifactWeights::LinearBytes(absl::string_view name) const {
  const Site* const site = SiteOf(name);
  if (site == nullptr) return stored_->LinearBytes(name);
  ASSIGN_OR_RETURN(const SharedWeight weight, ReadSite(*site));
  if (weight->RunLayout().has_value()) return 1.1 * static_cast<double>(weight->StoredBytes());
  return static_cast<double>(weight->rows()) * static_cast<double>(weight->cols()) * sizeof(float);
}

}  // namespace quantd
