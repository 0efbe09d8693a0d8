// An artifact folder as a source of weights: quantized matrices decode on reading, everything else is as stored.
#ifndef QUANTD_CORE_QUANT_ARTIFACT_WEIGHTS_H_
#define QUANTD_CORE_QUANT_ARTIFACT_WEIGHTS_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/formats/manifest.h"
#include "core/formats/weight_source.h"
#include "core/quant/quantized_weight.h"

namespace quantd {

class ArtifactWeights : public WeightSource {
 public:
  // Reads the manifest and every quantized site's packed tensors (checked; held packed). Reasons: those of
  // ReadManifest, OpenCheckpoint and QuantizedWeightFromTensors. File digests are not checked here: VerifyFiles does
  // that.
  static absl::StatusOr<std::unique_ptr<ArtifactWeights>> Open(const std::string& folder);

  const Manifest& manifest() const { return manifest_; }
  // nullptr when the site is not quantized. `site` is the module, without ".weight".
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
  uint64_t StoredBytes() const override { return stored_->StoredBytes(); }

 private:
  ArtifactWeights() = default;
  const QuantizedWeight* QuantizedTensor(absl::string_view tensor) const;

  Manifest manifest_;
  std::unique_ptr<WeightSource> stored_;
  std::map<std::string, std::unique_ptr<QuantizedWeight>, std::less<>> quantized_;  // by module
  std::vector<std::string> names_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_ARTIFACT_WEIGHTS_H_
