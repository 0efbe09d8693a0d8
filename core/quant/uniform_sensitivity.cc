#include "core/quant/sensitivity_registry.h"

namespace quantd {
namespace {

// The identity, never written out.
class UniformSensitivity : public Sensitivity {
 public:
  bool needs_inputs() const override { return false; }
  bool shareable() const override { return true; }
  absl::Status AddInputs(const ExecutionContext& /*context*/, const MatrixView& /*inputs*/) override {
    return absl::OkStatus();
  }
  absl::StatusOr<Matrix> Finish(const ExecutionContext& /*context*/) override { return Matrix(); }
  uint64_t memory_bytes() const override { return 0; }
  std::vector<StateTensor> SaveState() const override { return {}; }
  absl::Status LoadState(const StateTensors& /*saved*/) override { return absl::OkStatus(); }
};

}  // namespace

std::unique_ptr<Sensitivity> MakeUniformSensitivity(const SitePlan& /*plan*/) {
  return std::make_unique<UniformSensitivity>();
}

}  // namespace quantd
