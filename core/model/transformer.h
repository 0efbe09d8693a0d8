// A decoder-only transformer, run block by block: whoever drives it holds one block's weights at a time.
//
//   ASSIGN_OR_RETURN(auto model, Transformer::Open(folder, std::move(weights)));
//   Matrix hidden(tokens, model->config().hidden_size);
//   RETURN_IF_ERROR(model->Embed(context, ids, /*first_position=*/0, hidden.view()));
//   for (int b = 0; b < model->config().blocks; ++b) {
//     ASSIGN_OR_RETURN(Block block, model->LoadBlock(b));
//     RETURN_IF_ERROR(model->ForwardBlock(context, block, {}, hidden.view()));
//   }
//   ASSIGN_OR_RETURN(Head head, model->LoadHead());
//   model->Logits(context, head, hidden.view(), logits.view());
//
// f32 throughout. What differs between families is data: core/model/architecture.h. Results do not depend on thread
// counts. Immutable after opening; Load* and Forward* may run on several threads with separate arguments.
#ifndef QUANTD_CORE_MODEL_TRANSFORMER_H_
#define QUANTD_CORE_MODEL_TRANSFORMER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/compute/execution_context.h"
#include "core/compute/linear_weight.h"
#include "core/formats/weight_source.h"
#include "core/model/linear_site.h"
#include "core/model/model_config.h"
#include "core/tensor/matrix.h"

namespace quantd {

struct Linear {
  Matrix weight;                                         // [out, in]; empty when loaded to run
  std::vector<float> bias;                               // [out], or empty
  std::shared_ptr<const LinearWeight> to_run = nullptr;  // what is multiplied by instead of `weight`, or null
};

// How matrices are loaded: in f32, which gradients and whoever changes weights need, or in the form that runs
// (WeightSource::LoadLinear), with the arithmetic of bit planes.
enum class WeightForm { kF32, kToRun, kToRunRounded };

struct Norm {
  std::vector<float> weight;  // empty: not affine
  std::vector<float> bias;    // empty: none (RMS norm)
};

// One block's weights. linears are in the order of block_sites(index).
struct Block {
  int index = 0;
  std::vector<Linear> linears;
  std::vector<Norm> norms;  // by the architecture's norm roles
};

// Final norm, optional projection out of the hidden size, and the head.
struct Head {
  Norm norm;
  Matrix project_out;  // empty: none
  Linear output;       // [vocabulary, width], no bias
};

// Keys and values of one sequence, all blocks.
class KvCache {
 public:
  KvCache(const ModelConfig& config, int64_t capacity_tokens);
  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }
  void Advance(int64_t tokens) { length_ += tokens; }                // after all blocks have run on these tokens
  MutableMatrixView keys(int block) { return keys_[block].view(); }  // [capacity, kv_heads * head_size]
  MutableMatrixView values(int block) { return values_[block].view(); }

 private:
  int64_t capacity_;
  int64_t length_ = 0;
  std::vector<Matrix> keys_;
  std::vector<Matrix> values_;
};

// Sees what each linear multiplies while a block runs. Called in execution order from the calling thread; the view is
// valid during the call. Sites that share an input are reported one after the other with the same view.
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  virtual absl::Status OnInput(const LinearSite& site, const MatrixView& input) = 0;
};

struct ForwardOptions {
  int64_t first_position = 0;  // of the first row; with a cache: cache->length()
  InputObserver* observer = nullptr;
  KvCache* cache = nullptr;  // keys and values of earlier tokens; this block's rows are appended
};

// Sees, while a block runs backward, what each linear multiplied and how the loss feels what it put out: with y = x W^T
// (+ bias) it is given x and delta = dL/dy, and delta^T x [rows, cols] is the weight's gradient
// (MatMulLeftTransposed in core/compute/matmul.h). Called once a linear and sequence, linears in reverse order of
// execution, from the calling thread; the views are valid during the call.
class GradientObserver {
 public:
  virtual ~GradientObserver() = default;
  // x [tokens, site.cols], the same bits as InputObserver sees; delta [tokens, site.rows].
  virtual absl::Status OnGradient(const LinearSite& site, const MatrixView& x, const MatrixView& delta) = 0;
};

struct BackwardOptions {
  GradientObserver* observer = nullptr;
  // False: the gradient at the block's input is not wanted, which spares the products for it; its values are then
  // undefined.
  bool input_gradient = true;
};

class Transformer {
 public:
  // Reads config.json in `folder` and checks every tensor's presence, shape and element type against it. Reasons: those
  // of ReadModelConfig (model_config.h) and of CheckTensors (tensor_names.h).
  static absl::StatusOr<std::unique_ptr<Transformer>> Open(const std::string& folder,
                                                           std::shared_ptr<const WeightSource> weights);
  // The same with an already parsed configuration.
  static absl::StatusOr<std::unique_ptr<Transformer>> Create(ModelConfig config,
                                                             std::shared_ptr<const WeightSource> weights);
  ~Transformer();

  const ModelConfig& config() const { return config_; }
  const WeightSource& weights() const { return *weights_; }
  // Every linear of every block, in execution order.
  const std::vector<LinearSite>& sites() const { return sites_; }
  absl::Span<const LinearSite> block_sites(int block) const;

  // Gradients need kF32.
  absl::StatusOr<Block> LoadBlock(int index, WeightForm form = WeightForm::kF32) const;
  absl::StatusOr<Head> LoadHead(WeightForm form = WeightForm::kF32) const;

  // hidden[t] = what enters block 0 for ids[t] at position first_position + t. TOKEN_OUT_OF_RANGE,
  // POSITION_OUT_OF_RANGE.
  absl::Status Embed(const ExecutionContext& context, absl::Span<const int32_t> ids, int64_t first_position,
                     MutableMatrixView hidden) const;
  // One sequence: hidden [tokens, hidden_size], replaced by the block's output. CACHE_FULL; what the observer returns.
  absl::Status ForwardBlock(const ExecutionContext& context, const Block& block, const ForwardOptions& options,
                            MutableMatrixView hidden) const;
  // The other way: `gradient` [tokens, hidden_size] is dL/d(output of the block) of one sequence from position 0 on,
  // and is replaced by dL/d(input). `input` is what ForwardBlock was given; the block is run on it once more, with the
  // same bits, so that nothing else need be kept. What the observer returns.
  absl::Status BackwardBlock(const ExecutionContext& context, const Block& block, const BackwardOptions& options,
                             const MatrixView& input, MutableMatrixView gradient) const;
  // What enters the head (after the final norm and project_out), [tokens, width].
  Matrix FinalHidden(const ExecutionContext& context, const Head& head, const MatrixView& hidden) const;
  // Logits of `hidden` (block output, not yet normalized), [tokens, vocabulary].
  void Logits(const ExecutionContext& context, const Head& head, const MatrixView& hidden,
              MutableMatrixView logits) const;
  // dL/d(hidden) from dL/d(logits), for the arguments that Logits was given. `gradient` may be `hidden`.
  void BackwardLogits(const ExecutionContext& context, const Head& head, const MatrixView& hidden,
                      const MatrixView& logits_gradient, MutableMatrixView gradient) const;

 private:
  struct ForwardState;  // core/model/forward_state.h
  Transformer();
  ModelConfig config_;
  std::shared_ptr<const WeightSource> weights_;
  std::vector<LinearSite> sites_;
  std::unique_ptr<ForwardState> state_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_TRANSFORMER_H_
