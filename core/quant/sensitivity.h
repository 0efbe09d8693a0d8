// What an error in a weight costs: a symmetric [in, in] matrix per site, gathered while calibration data flows through
// a block.
#ifndef QUANTD_CORE_QUANT_SENSITIVITY_H_
#define QUANTD_CORE_QUANT_SENSITIVITY_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/quant/recipe.h"
#include "core/tensor/matrix.h"
#include "core/tensor/state_tensor.h"

namespace quantd {

// Collects for one site (or for sites that share an input, when Shareable()). Thread-compatible.
class Sensitivity {
 public:
  virtual ~Sensitivity() = default;
  // False: needs no data at all and Finish gives an empty matrix (uniform).
  virtual bool needs_inputs() const = 0;
  // True: sites with the same input may share one collector.
  virtual bool shareable() const = 0;
  // Inputs [tokens, in] of one sequence. NOT_FINITE_INPUT names the first bad token and feature; nothing was added
  // then.
  virtual absl::Status AddInputs(const ExecutionContext& context, const MatrixView& inputs) = 0;
  // [in, in], symmetric, both triangles filled, or empty (uniform). SENSITIVITY_NO_DATA before the first token.
  virtual absl::StatusOr<Matrix> Finish(const ExecutionContext& context) = 0;
  virtual uint64_t memory_bytes() const = 0;

  // What was added so far, as tensors that stay valid until the next call that changes it. A new object of the same
  // plan that loads them goes on as this one would, with the same bytes. Names are free, up to 64 characters of [a-z_].
  virtual std::vector<StateTensor> SaveState() const = 0;
  // CHECKPOINT_MALFORMED; the object is not to be used then.
  virtual absl::Status LoadState(const StateTensors& saved) = 0;
};

absl::StatusOr<std::unique_ptr<Sensitivity>> MakeSensitivity(const SitePlan& plan);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_SENSITIVITY_H_
