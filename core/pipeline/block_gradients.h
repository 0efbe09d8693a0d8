// Where a pass over one block gets its gradients from: the choices of `hessian_model`.
//
//   boundary  One pass over the original model keeps the loss's gradient at every block's output. Each block is then
//   run
//             and differentiated alone, on what the quantized blocks before it give it, from that gradient.
//   full      The same, on what the original blocks give it and with its original weights.
//   prefix    For every pass over a block, the gradient at its output is computed anew: by the original blocks after
//   it,
//             on what the quantized blocks and it give them.
//
// All gradients at block boundaries take (blocks + 1) x tokens x hidden_size x 4 bytes: those of two boundaries in
// memory, if a quarter of the budget holds them, the others in mapped files. Those that no block to come needs are let
// go, and are in no checkpoint.
#ifndef QUANTD_CORE_PIPELINE_BLOCK_GRADIENTS_H_
#define QUANTD_CORE_PIPELINE_BLOCK_GRADIENTS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/compute/execution_context.h"
#include "core/model/gradient_pass.h"
#include "core/model/transformer.h"
#include "core/quant/recipe.h"
#include "core/tensor/state_tensor.h"
#include "core/text/corpus.h"

namespace quantd {

enum class HessianModel { kBoundary, kFull, kPrefix };

struct GradientPlan {
  HessianModel hessian_model = HessianModel::kBoundary;
  LabelSource labels = LabelSource::kData;
};

// What the recipe wants; nothing when no site wants gradients. RECIPE_ILLEGAL_COMBINATION when rules make sites differ:
// the passes are the whole model's.
absl::StatusOr<std::optional<GradientPlan>> GradientPlanOf(absl::Span<const SitePlan> plans);

// Multiply-adds of a pass over the blocks from `first_block` on, and of one sequence's collection in a block.
double GradientPassWork(const Transformer& model, int first_block, int64_t tokens);
double BlockGradientWork(const Transformer& model, int block, int64_t tokens);
struct BlockGradientsOptions {
  GradientPlan plan;
  absl::Span<const TokenSequence> sequences;
  uint64_t seed = 0;  // of sampled labels
  std::string scratch_directory;
};

// Where another run was.
struct SavedGradients {
  GradientPlace place;
  int block = 0;  // being quantized
  int pass = 0;   // of it
};

// Thread-compatible. Results do not depend on thread counts or interruptions.
class BlockGradients {
 public:
  // Called after each piece of work; what it returns, unless OK, ends the call.
  using Step = std::function<absl::Status(double multiply_adds)>;

  // The model, the sequences and the context must outlive it. The reasons of GradientPass::Create.
  static absl::StatusOr<std::unique_ptr<BlockGradients>> Create(const ExecutionContext& context,
                                                                const Transformer& model,
                                                                BlockGradientsOptions options);

  // The pass over the whole model, from where it is, if there is one. The reasons of GradientPass::Run.
  absl::Status Prepare(const Step& step);
  // Before the first sequence of each round of pass `pass` of a block, also after an interruption. `inputs`: what
  // enters the block, which is the same in all of them.
  absl::Status BeginRound(const Block& block, int pass, const ActivationStore& inputs, const Step& step);
  // A pass that an earlier run has begun is still to be loaded, by BeginRound.
  bool interrupted() const { return saved_pass_.has_value(); }
  // After the last sequence of the last round; may be called again.
  void EndPass();
  // Gives the observer what one sequence makes of the block, whose input is `input` [tokens, hidden_size].
  absl::Status Observe(const Block& block, int64_t sequence, const MatrixView& input, GradientObserver* observer);
  // The block is quantized.
  absl::Status EndBlock(int block, const Step& step);

  // Prepare runs a pass over the whole model; else the passes run behind each block.
  bool whole_model() const { return !anew(); }

  // What another object of the same arguments needs to go on from place(), in block `block`. Nothing of a pass that has
  // not begun.
  GradientPlace place() const { return pass_.has_value() ? pass_->place() : GradientPlace(); }
  std::vector<StatePart> Save(int block) const;
  // Instead of Prepare's beginning. CHECKPOINT_MALFORMED.
  absl::Status Load(const SavedGradients& saved, const StateSource& source);

 private:
  BlockGradients(const ExecutionContext& context, const Transformer& model, BlockGradientsOptions options)
      : context_(context), model_(model), options_(std::move(options)) {}

  absl::StatusOr<GradientPass> NewPass(int first_block) const;
  absl::Status NewOriginalInputs();
  void KeepFor(int block);
  absl::Status BeginBehind(const Block& block, const ActivationStore& inputs);
  absl::Status RunPass(GradientPass& pass, int first_block, const Step& step);
  bool keeps_original() const { return options_.plan.hessian_model == HessianModel::kFull; }
  bool anew() const { return options_.plan.hessian_model == HessianModel::kPrefix; }

  const ExecutionContext& context_;
  const Transformer& model_;
  const BlockGradientsOptions options_;
  std::optional<GradientPass> pass_;                  // whose boundaries hold the gradients
  std::unique_ptr<ActivationStore> original_inputs_;  // full: what the original blocks before give the block
  std::optional<Block> original_;                     // full: the block with its own weights
  Matrix gradient_;                                   // of one sequence
  // prefix: the pass over the blocks after one that was saved, until it begins.
  struct SavedPass {
    GradientPlace place;
    StateSource source;
  };
  std::optional<SavedPass> saved_pass_;
  int first_block_ = 0;  // to be quantized
  int pass_number_ = 0;  // prefix: of the block; names of parts must not repeat with other contents
};

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_BLOCK_GRADIENTS_H_
