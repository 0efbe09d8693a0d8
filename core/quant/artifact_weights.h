// An artifact folder as a source of weights: quantized matrices decode on reading, everything else is as stored.
#ifndef QUANTD_CORE_QUANT_ARTIFACT_WEIGHTS_H_
#define QUANTD_CORE_QUANT_ARTIFACT_WEIGHTS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/formats/manifest.h"
#include "core/formats/weight_source.h"
#include "core/quant/quantized_weight.h"

namespace quantd {

// What an open artifact keeps in memory.
enum class ArtifactHold {
  kPacked,   // every quantized site, as stored
  kNothing,  // sites are read again whenever they are asked for: for models that run from LoadLinear's copy
};

class ArtifactWeights : public WeightSource {
 public:
  // Reads the manifest and every quantized site's packed tensors, and checks them. Reasons: those of ReadManifest,
  // OpenCheckpoint and QuantizedWeightFromTensors. File digests are not checked here: VerifyFiles does that.
  static absl::StatusOr<std::unique_ptr<ArtifactWeights>> Open(const std::string& folder,
                                                               ArtifactHold hold = ArtifactHold::kPacked);

  const Manifest& manifest() const { return manifest_; }
  // nullptr when the site is not quantized or not held. `site` is the module, without ".weight".
  const QuantizedWeight* Quantized(absl::string_view site) const;
  // The tensors as stored, packed ones included.
  const WeightSource& stored() const { return *stored_; }

  const std::string& path() const override { return stored_->path(); }
  std::vector<std::string> Names() const override;
  bool Has(absl::string_view name) const override;
  absl::StatusOr<std::vector<int64_t>> Shape(absl::string_view name) const override;
  absl::Status ReadRows(absl::string_view name, int64_t first_row, int64_t rows, absl::Span<float> out) const override;
  absl::StatusOr<Dtype> StoredDtype(absl::string_view name) const override;
  absl::StatusOr<absl::Span<const char>> StoredTensorBytes(absl::string_view name) const override;
  absl::StatusOr<std::unique_ptr<LinearWeight>> LoadLinear(absl::string_view name,
                                                           PlaneArithmetic arithmetic) const override;
  absl::StatusOr<double> LinearBytes(absl::string_view name) const override;
  void ReleaseStored(absl::string_view name) const override { stored_->ReleaseStored(name); }
  uint64_t StoredBytes() const override { return stored_->StoredBytes(); }

 private:
  ArtifactWeights() = default;
  using SharedWeight = std::shared_ptr<const QuantizedWeight>;
  struct Site {
    const ManifestSite* manifest;
    std::vector<std::string> tensors;  // names of the packed ones
    SharedWeight held;                 // null: read again each time
  };
  // nullptr when `tensor` is not the weight of a quantized site.
  const Site* SiteOf(absl::string_view tensor) const;
  absl::StatusOr<SharedWeight> ReadSite(const Site& site) const;

  Manifest manifest_;
  std::unique_ptr<WeightSource> stored_;
  std::map<std::string, Site, std::less<>> sites_;  // by module
  std::vector<std::string> names_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_ARTIFACT_WEIGHTS_H_
