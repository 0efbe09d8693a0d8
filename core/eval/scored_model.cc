#include "core/eval/scored_model.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"

namespace quantd {
namespace {

constexpr char kActivations[] = "activations";

absl::StatusOr<TokenScore> ScoreRow(absl::Span<const float> logits, int32_t target) {
  const auto top = std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - *top);
  TokenScore score;
  score.top1 = static_cast<int32_t>(top - logits.begin());
  score.log_sum = *top + std::log(total);
  score.nll = score.log_sum - logits[target];
  if (std::isfinite(score.log_sum)) return score;
  return InvalidInput("LOGITS_NOT_FINITE", "logits are not finite: the weights hold huge values");
}

}  // namespace

absl::Status CheckTargets(const EvaluationTokens& tokens) {
  for (const EvaluationWindow& window : tokens.windows) {
    if (static_cast<int64_t>(window.tokens.size()) > window.first_target) return absl::OkStatus();
  }
  return InvalidInput("EVALUATION_NO_TARGETS", "the evaluation text gives no token to predict; use a longer text");
}

absl::StatusOr<HiddenStates> HiddenStates::Create(const ExecutionContext& context, const Transformer& model,
                                                  const EvaluationTokens& tokens,
                                                  const std::string& scratch_directory) {
  std::vector<int64_t> lengths;
  for (const EvaluationWindow& window : tokens.windows) lengths.push_back(static_cast<int64_t>(window.tokens.size()));
  ASSIGN_OR_RETURN(ActivationStore store, ActivationStore::Create(lengths, model.config().hidden_size,
                                                                  {context.memory_budget_bytes(), scratch_directory}));
  return HiddenStates(context, model, std::move(store));
}

absl::Status HiddenStates::Embed(const EvaluationTokens& tokens) {
  for (int64_t w = 0; w < store_.sequences(); ++w) {
    RETURN_IF_ERROR(model_->Embed(*context_, tokens.windows[w].tokens, 0, store_.sequence(w)));
  }
  block_ = 0;
  window_ = 0;
  return absl::OkStatus();
}

absl::Status HiddenStates::Run(const std::function<absl::Status(double fraction)>& step) {
  while (block_ < model_->config().blocks) {
    ASSIGN_OR_RETURN(const Block block, model_->LoadBlock(block_, WeightForm::kToRun));
    while (window_ < store_.sequences()) {
      RETURN_IF_ERROR(model_->ForwardBlock(*context_, block, {}, store_.sequence(window_)));
      store_.Release(window_);
      ++window_;
      if (window_ < store_.sequences()) RETURN_IF_ERROR(step(Share()));
    }
    ++block_;
    window_ = 0;
    RETURN_IF_ERROR(step(Share()));
  }
  return absl::OkStatus();
}

double HiddenStates::Share() const {
  const double windows = static_cast<double>(store_.sequences());
  return (static_cast<double>(block_) * windows + static_cast<double>(window_)) /
         (static_cast<double>(model_->config().blocks) * windows);
}

std::string HiddenStates::PartName(absl::string_view name) const {
  return absl::StrFormat("%s-%05d-%05d", name, block_, window_);
}

StatePart HiddenStates::Save(absl::string_view name) const {
  return {PartName(name), [this] {
            return StateTensors({StateOf<float>(kActivations, store_.values(), {store_.tokens(), store_.width()})});
          }};
}

absl::Status HiddenStates::Load(int block, int64_t window, const EvaluationTokens& tokens, absl::string_view name,
                                const StateSource& source) {
  const bool within = block >= 0 && window >= 0 && window < std::max<int64_t>(store_.sequences(), 1) &&
                      (block < model_->config().blocks || (block == model_->config().blocks && window == 0));
  if (!within) {
    return InvalidInput("CHECKPOINT_MALFORMED",
                        absl::StrFormat("the checkpoint is at block %d and window %d of an evaluation of %d and %d",
                                        block, window, model_->config().blocks, store_.sequences()));
  }
  if (block == 0 && window == 0) return Embed(tokens);
  block_ = block;
  window_ = window;
  ASSIGN_OR_RETURN(const StateTensors saved, source(PartName(name)));
  return saved.Load(kActivations, store_.values());
}

absl::StatusOr<Scorer> Scorer::Create(const ExecutionContext& context, const Transformer& model) {
  ASSIGN_OR_RETURN(Head head, model.LoadHead(WeightForm::kToRun));
  return Scorer(context, model, std::move(head));
}

absl::Status Scorer::Score(ActivationStore& hidden, int64_t window, int64_t first_row,
                           absl::Span<const int32_t> targets) {
  const int64_t rows = static_cast<int64_t>(targets.size());
  const MutableMatrixView out = logits_.view().Rows(0, rows);
  model_->Logits(*context_, head_, MatrixView(hidden.sequence(window)).Rows(first_row, rows), out);
  scores_.assign(targets.size(), {});
  std::vector<absl::Status> statuses(targets.size());
  context_->pool().ParallelFor(rows, [&](int64_t r) {
    auto score = ScoreRow(out.row_span(r), targets[r]);
    if (score.ok()) scores_[r] = *score;
    statuses[r] = score.status();
  });
  for (size_t r = 0; r < statuses.size(); ++r) {
    if (statuses[r].ok()) continue;
    return WithContext(statuses[r], absl::StrFormat("%s: window %d, position %d", model_->config().source, window,
                                                    first_row + static_cast<int64_t>(r)));
  }
  return absl::OkStatus();
}

}  // namespace quantd
