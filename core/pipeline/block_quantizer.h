// The work of QuantizeModel: walks the blocks from a place to the end.
#ifndef QUANTD_CORE_PIPELINE_BLOCK_QUANTIZER_H_
#define QUANTD_CORE_PIPELINE_BLOCK_QUANTIZER_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/model/activation_store.h"
#include "core/pipeline/block_gradients.h"
#include "core/pipeline/collectors.h"
#include "core/pipeline/quantize_model.h"

namespace quantd {

// Sites of a block in the order in which they are measured and quantized: all at once, or input by input.
std::vector<std::vector<const SitePlan*>> Passes(absl::Span<const SitePlan> plans);

// Multiply-adds of one pass of so many tokens through a block, and of solving a site.
double BlockWork(const Transformer& model, int block, int64_t tokens);
double SolveWork(const SitePlan& plan);

class BlockQuantizer {
 public:
  BlockQuantizer(const ExecutionContext& context, const Transformer& model, const QuantizeOptions& options,
                 Progress& progress);

  // The sequences at the input of the first block to do: embedded, or as saved. Checks what was saved.
  absl::Status Prepare();
  // The block at the place; then the place is the next block.
  absl::Status RunBlock(const BlockSink& sink);
  bool done() const { return place_.block == model_.config().blocks; }

 private:
  absl::Status CheckSaved() const;
  absl::Status PrepareBoundary();
  absl::Status PrepareGradients();
  absl::Span<const SitePlan> BlockPlans(int block) const;
  absl::Status RunPass(Block& block, const std::vector<const SitePlan*>& pass);
  absl::Status Collect(const Block& block, Collectors& collectors);
  absl::Status CollectSequence(const Block& block, int64_t sequence, Collectors& collectors);
  absl::Status QuantizeSites(Block& block, const std::vector<const SitePlan*>& pass, Collectors& collectors);
  absl::Status Advance(const Block& block);

  // Counts work, offers a safe point, and says whether to go on.
  absl::Status Step(double multiply_adds);
  absl::Status Offer(SafePoint point);
  QuantizeState State() const;
  bool BoundaryIsEmbedding() const;

  const ExecutionContext& context_;
  const Transformer& model_;
  const QuantizeOptions& options_;
  Progress& progress_;
  QuantizePlace place_;
  std::unique_ptr<ActivationStore> boundary_;  // null: no plan needs data
  std::unique_ptr<BlockGradients> gradients_;  // null: no plan needs them
  Matrix scratch_;
  std::vector<QuantizedSite> sites_;      // done, of the block at place_
  const Collectors* gathered_ = nullptr;  // of the pass at place_, while it runs
};

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_BLOCK_QUANTIZER_H_
