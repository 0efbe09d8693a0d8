// What an error in a weight costs: a symmetric [in, in] matrix per site, gathered while calibration data flows through
// a block, forward or backward.
#ifndef QUANTD_CORE_QUANT_SENSITIVITY_H_
#define QUANTD_CORE_QUANT_SENSITIVITY_H_

#include <memory>
#include <optional>
#include <string>
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
  // Which data it wants: inputs of the forward pass, or inputs and gradients of the backward pass; at most one of the
  // two. Neither: Finish gives an empty matrix (uniform).
  virtual bool needs_inputs() const = 0;
  virtual bool needs_gradients() const { return false; }
  // True: sites with the same input may share one collector.
  virtual bool shareable() const = 0;
  // Inputs [tokens, in] of one sequence. NOT_FINITE_INPUT names the first bad token and feature; nothing was added
  // then.
  virtual absl::Status AddInputs(const ExecutionContext& context, const MatrixView& inputs) = 0;
  // Inputs [tokens, in] of one sequence and the gradient of its loss at the site's output [tokens, out]. The scale of
  // the loss does not matter, so long as it is one for all sequences. NOT_FINITE_INPUT, NOT_FINITE_GRADIENT.
  virtual absl::Status AddGradients(const ExecutionContext& /*context*/, const MatrixView& /*inputs*/,
                                    const MatrixView& /*gradients*/) {
    return absl::OkStatus();
  }
  // [in, in], symmetric, both triangles filled, or empty (uniform). SENSITIVITY_NO_DATA before the first token.
  virtual absl::StatusOr<Matrix> Finish(const ExecutionContext& context) = 0;
  virtual uint64_t memory_bytes() const = 0;
  // Where it computes in less than f32: the relative Frobenius difference that this makes, ||H - H_f32|| / ||H_f32||,
  // measured on the first sequence that counts.
  virtual std::optional<double> precision_difference() const { return std::nullopt; }

  // What was added so far, as tensors that stay valid until the next call that changes it. A new object of the same
  // plan that loads them goes on as this one would, with the same bytes. Names are free, up to 64 characters of [a-z_].
  virtual std::vector<StateTensor> SaveState() const = 0;
  // CHECKPOINT_MALFORMED; the object is not to be used then.
  virtual absl::Status LoadState(const StateTensors& saved) = 0;
};

absl::StatusOr<std::unique_ptr<Sensitivity>> MakeSensitivity(const SitePlan& plan);
// memory_bytes() of the one that would be made; 0 for a site that is skipped.
uint64_t SensitivityBytes(const SitePlan& plan);
// Of a site that is not skipped.
bool NeedsGradients(const SitePlan& plan);

// "output_adaptive, fisher=token, ...": the sensitivity of a recipe and every option that it reads, for reports. The
// number of sequences is the job's.
std::string SensitivityText(const Parameters& parameters);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_SENSITIVITY_H_
