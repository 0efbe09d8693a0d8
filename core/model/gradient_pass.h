// Gradients of every sequence's loss (sequence_loss.h) with respect to all linears of all blocks, and at the boundaries
// between blocks.
//
//   ASSIGN_OR_RETURN(GradientPass pass, GradientPass::Create(context, model, sequences, options));
//   RETURN_IF_ERROR(pass.Embed());
//   RETURN_IF_ERROR(pass.Run(&observer, step));   // OnGradient(site, x, delta): last block first, in a block sequence
//   by
//                                                 // sequence, in a sequence last linear first
//   pass.boundary(b).sequence(s);                 // dL_s / d(what enters block b); b = blocks: what leaves the last
//   one
//
// The forward pass keeps what enters every block; then each sequence's loss; then the blocks run backward, last to
// first, each recomputed from its kept input. A boundary's activations give way to its gradient when its block has run
// backward, so that (blocks + 1) x tokens x hidden_size x 4 bytes are all that is kept, in memory up to the budget and
// above it in mapped files. Beside that: one block's weights and one sequence's activations in it.
//
// Three uses:
// - The whole model: as above.
// - One block alone, from given inputs and a gradient kept at its output: Transformer::BackwardBlock, with
//   pass.boundary(b + 1) of a pass with keep_gradients. The pass itself needs no observer then.
// - The rest of the model behind a quantized prefix: first_block, load_block, and boundary(first_block) filled by the
//   caller instead of Embed.
//
// Results do not depend on thread counts, on the budget, or on where a pass was interrupted. Thread-compatible.
#ifndef QUANTD_CORE_MODEL_GRADIENT_PASS_H_
#define QUANTD_CORE_MODEL_GRADIENT_PASS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/compute/execution_context.h"
#include "core/model/activation_store.h"
#include "core/model/sequence_loss.h"
#include "core/model/transformer.h"
#include "core/tensor/state_tensor.h"
#include "core/text/corpus.h"

namespace quantd {

struct GradientPassOptions {
  LabelSource labels = LabelSource::kData;
  uint64_t seed = 0;                  // of sampled labels
  int64_t first_sequence = 0;         // number of sequences[0]: for draws and messages
  int first_block = 0;                // the pass goes from here to the loss and back to here
  bool keep_gradients = false;        // false: a boundary is let go when the block below it has run backward
  ActivationStoreOptions store = {};  // the budget is that of all boundaries together
  // Weights other than the model's, e.g. quantized ones; empty: Transformer::LoadBlock.
  std::function<absl::StatusOr<Block>(int block)> load_block = {};
};

// Where a pass is: everything before is done.
struct GradientPlace {
  enum class Phase { kForward, kLoss, kBackward, kDone };
  Phase phase = Phase::kForward;
  int block = 0;         // that runs forward or backward
  int64_t sequence = 0;  // the next one
};

class GradientPass {
 public:
  // The sequences must outlive the pass. BLOCK_OUT_OF_RANGE; SEQUENCE_TOO_SHORT; the reasons of ActivationStore.
  static absl::StatusOr<GradientPass> Create(const ExecutionContext& context, const Transformer& model,
                                             absl::Span<const TokenSequence> sequences, GradientPassOptions options);

  // Fills boundary(0), where the first block is 0. The reasons of Transformer::Embed.
  absl::Status Embed();

  // Runs to the end from where it is. `observer` may be null. Calls `step` after each block and sequence, with the
  // share of the work that is done; what it returns, unless OK, ends Run, and another Run goes on from there.
  // ACTIVATIONS_NOT_FINITE, GRADIENT_NOT_FINITE: name sequence and block. LOSS_NOT_FINITE.
  absl::Status Run(GradientObserver* observer, const std::function<absl::Status(double fraction)>& step);

  const GradientPlace& place() const { return place_; }
  // Nats, one a sequence, after the loss phase.
  absl::Span<const double> losses() const { return losses_; }
  // first_block <= block <= blocks. What enters the block and, when it has run backward, the gradient there. May be
  // filled before Run.
  ActivationStore& boundary(int block) { return *boundaries_[block - options_.first_block]; }
  const ActivationStore& boundary(int block) const { return *boundaries_[block - options_.first_block]; }
  // Nobody will ask for other boundaries than first..last any more: those are let go, and neither saved nor loaded. Of
  // a pass that is done, or is about to load a place where it is.
  void KeepOnly(int first, int last);
  // Of all boundaries together, in memory or not.
  uint64_t size_bytes() const;

  // What another pass of the same arguments needs to go on from place(). A boundary is a part of its own whose name
  // changes with its content.
  std::vector<StatePart> Save() const;
  // Before Run, and instead of Embed. CHECKPOINT_MALFORMED.
  absl::Status Load(const GradientPlace& place, const StateSource& source);

 private:
  GradientPass(const ExecutionContext& context, const Transformer& model, absl::Span<const TokenSequence> sequences,
               GradientPassOptions options)
      : context_(&context), model_(&model), sequences_(sequences), options_(std::move(options)) {}

  // The sequences whose row of a boundary is set, first those that hold a gradient.
  struct Content {
    int64_t gradients = 0;
    int64_t activations = 0;
  };
  Content ContentOf(int boundary) const;
  std::string PartName(int boundary) const;
  std::string LossesName() const;

  absl::Status RunBlock(GradientObserver* observer, const std::function<absl::Status(double)>& step);
  absl::Status Forward(const Block& block);
  absl::Status Loss(const Head& head);
  absl::Status Backward(const Block& block, GradientObserver* observer);
  absl::StatusOr<Block> LoadBlock() const;
  absl::Status CheckFinite(const MatrixView& values, absl::string_view reason, absl::string_view what) const;
  bool IsPlace(const GradientPlace& place) const;
  void Advance();
  double Share() const;
  int64_t count() const { return static_cast<int64_t>(sequences_.size()); }
  int last_boundary() const { return model_->config().blocks; }

  const ExecutionContext* context_;
  const Transformer* model_;
  absl::Span<const TokenSequence> sequences_;
  GradientPassOptions options_;
  GradientPlace place_;
  std::vector<std::unique_ptr<ActivationStore>> boundaries_;  // from first_block on; null: let go
  Matrix gradient_;                                           // of one sequence
  std::vector<double> losses_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_GRADIENT_PASS_H_
