// Calibrate and quantize, block by block: one block's f32 weights, its statistics and one boundary of activations are
// all that is held. Each block sees the inputs that the quantized blocks before it produce.
#ifndef QUANTD_CORE_PIPELINE_QUANTIZE_MODEL_H_
#define QUANTD_CORE_PIPELINE_QUANTIZE_MODEL_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/compute/execution_context.h"
#include "core/model/gradient_pass.h"
#include "core/model/transformer.h"
#include "core/pipeline/progress.h"
#include "core/quant/quantize_site.h"
#include "core/tensor/state_tensor.h"
#include "core/text/corpus.h"

namespace quantd {

struct QuantizedSite {
  const SitePlan* plan;
  SiteResult result;
  std::optional<double> precision_difference = {};  // of its sensitivity, as there
};

// Receives every block once, in order, with its quantized sites in execution order (skipped ones left out).
using BlockSink = std::function<absl::Status(int block, std::vector<QuantizedSite> sites)>;

// Where quantization is: everything before is done. A block is measured and quantized in passes (one, or one an input
// with true_sequential), each in rounds (quantize_work.h); then the sequences advance to the next block.
struct QuantizePlace {
  int block = 0;
  int pass = 0;           // of the block
  int round_first = 0;    // first layer of the round, counted within the pass
  int round_layers = 0;   // 0: not begun
  int64_t sequences = 0;  // gathered by the round, or advanced
  bool advancing = false;
  GradientPlace gradients = {};  // of the pass over the whole model, where there is one; it comes first
};

// What is needed to go on from a place, beside the finished blocks. Valid during the call it is passed to.
struct QuantizeState {
  QuantizePlace place;
  std::vector<StatePart> parts;
  absl::Span<const QuantizedSite> sites;  // done, of the block that is not; the parts hold their weights
};

enum class SafePoint { kWithinBlock, kBlockEnd };

// Called after each piece of work, when there is a state from which another run can go on.
using QuantizeSafePoint = std::function<absl::Status(SafePoint point, absl::FunctionRef<QuantizeState()> state)>;

// A state of an earlier run with the same options, read back.
struct SavedQuantization {
  QuantizePlace place;
  std::vector<QuantizedSite> sites;  // as in QuantizeState
  StateSource part;
};

struct QuantizeOptions {
  absl::Span<const SitePlan> plans;             // one a site of the model, in its order
  absl::Span<const TokenSequence> calibration;  // of one length; empty when no plan needs data
  std::string scratch_directory;                // for activations above the memory budget
  uint64_t seed = 0;                            // of labels that are drawn
  QuantizeSafePoint safe_point = {};            // may be empty
  SavedQuantization* saved = nullptr;           // goes on from there and takes its sites; null: from the beginning
};

// The file name, without extension, of a quantized site's tensors in QuantizeState.parts.
std::string LayerPartName(const LinearSite& site);

// RECIPE_ILLEGAL_COMBINATION as GradientPlanOf; the reasons of GradientPass. CHECKPOINT_MALFORMED when `saved` is not a
// state of this job; then nothing was given to the sink.
absl::Status QuantizeModel(const ExecutionContext& context, const Transformer& model, const QuantizeOptions& options,
                           Progress& progress, const BlockSink& sink);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_QUANTIZE_MODEL_H_
