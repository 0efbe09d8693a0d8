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
#include "core/pipeline/quantize_work.h"

namespace quantd {

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
  std::vector<SitePlans> PassesOf(int block) const { return Passes(BlockPlans(model_, options_.plans, block)); }
  absl::Status CheckSavedRound(const std::vector<SitePlans>& passes) const;
  absl::Status RunPass(Block& block, const SitePlans& pass);
  SitePlans NextRound(const SitePlans& pass);
  absl::Status RunRound(Block& block, const SitePlans& pass);
  void TakeQuantized(Block& block, const SitePlans& pass) const;
  absl::Status Collect(const Block& block, bool last_round, Collectors& collectors);
  absl::Status CollectSequence(const Block& block, int64_t sequence, Collectors& collectors);
  absl::Status QuantizeSites(const Block& block, const SitePlans& round, bool last_round, Collectors& collectors);
  void EndRound(bool last_round);
  absl::Status Advance(const Block& block);

  // What is being measured, for people.
  std::string GradientText() const;
  std::string CollectText(bool gradients) const;

  // Counts work, offers a safe point, and says whether to go on.
  absl::Status Step(double multiply_adds);
  absl::Status GradientStep(double multiply_adds);  // of a pass over many blocks
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
  const Collectors* gathered_ = nullptr;  // of the round at place_, while it runs
};

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_BLOCK_QUANTIZER_H_
