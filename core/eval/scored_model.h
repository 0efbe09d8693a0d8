// One model of an evaluation: the hidden states of all windows on their way through its blocks, then its logits.
#ifndef QUANTD_CORE_EVAL_SCORED_MODEL_H_
#define QUANTD_CORE_EVAL_SCORED_MODEL_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/status.h"
#include "core/compute/execution_context.h"
#include "core/eval/tally.h"
#include "core/model/activation_store.h"
#include "core/model/transformer.h"
#include "core/tensor/state_tensor.h"
#include "core/text/corpus.h"

namespace quantd {

inline constexpr int64_t kScoredRows = 128;  // positions whose logits are held at once

// EVALUATION_NO_TARGETS.
absl::Status CheckTargets(const EvaluationTokens& tokens);

// Calls body(first row, targets) for every chunk of target positions of a window, in order.
template <typename Body>
absl::Status ForEachChunk(const EvaluationWindow& window, const Body& body) {
  const int64_t end = static_cast<int64_t>(window.tokens.size()) - 1;
  for (int64_t row = window.first_target - 1; row < end; row += kScoredRows) {
    const int64_t rows = std::min(kScoredRows, end - row);
    RETURN_IF_ERROR(body(row, absl::MakeConstSpan(window.tokens).subspan(row + 1, rows)));
  }
  return absl::OkStatus();
}

// The hidden states of every window: those before `window` at the output of `block`, the others at its input.
class HiddenStates {
 public:
  static absl::StatusOr<HiddenStates> Create(const ExecutionContext& context, const Transformer& model,
                                             const EvaluationTokens& tokens, const std::string& scratch_directory);

  // At the input of the first block.
  absl::Status Embed(const EvaluationTokens& tokens);
  // Runs to the output of the last block; `step` after each window with the share done, 0..1.
  absl::Status Run(const std::function<absl::Status(double fraction)>& step);

  bool embedded_only() const { return block_ == 0 && window_ == 0; }
  int block() const { return block_; }
  int64_t window() const { return window_; }
  double Share() const;
  StatePart Save(absl::string_view name) const;
  // The inverse, at a place read back; CHECKPOINT_MALFORMED when the model has no such place.
  absl::Status Load(int block, int64_t window, const EvaluationTokens& tokens, absl::string_view name,
                    const StateSource& source);

  ActivationStore& store() { return store_; }

 private:
  HiddenStates(const ExecutionContext& context, const Transformer& model, ActivationStore store)
      : context_(&context), model_(&model), store_(std::move(store)) {}
  std::string PartName(absl::string_view name) const;

  const ExecutionContext* context_;
  const Transformer* model_;
  ActivationStore store_;
  int block_ = 0;
  int64_t window_ = 0;
};

// Scores chunks of at most kScoredRows positions from final hidden states.
class Scorer {
 public:
  static absl::StatusOr<Scorer> Create(const ExecutionContext& context, const Transformer& model);
  // LOGITS_NOT_FINITE names model, window and position.
  absl::Status Score(ActivationStore& hidden, int64_t window, int64_t first_row, absl::Span<const int32_t> targets);

  absl::Span<const TokenScore> scores() const { return scores_; }
  absl::Span<const float> logits(int64_t row) const { return logits_.view().row_span(row); }

 private:
  Scorer(const ExecutionContext& context, const Transformer& model, Head head)
      : context_(&context),
        model_(&model),
        head_(std::move(head)),
        logits_(kScoredRows, model.config().vocabulary_size) {}

  const ExecutionContext* context_;
  const Transformer* model_;
  Head head_;
  Matrix logits_;
  std::vector<TokenScore> scores_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_EVAL_SCORED_MODEL_H_
