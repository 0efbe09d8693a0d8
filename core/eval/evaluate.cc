#include "core/eval/evaluate.h"

#include <utility>

#include "core/base/status.h"
#include "core/eval/scored_model.h"
#include "core/eval/tally.h"

namespace quantd {
namespace {

constexpr double kScoringShare = 0.2;  // of the work on one model

absl::Status Report(const EvaluationOptions& options, double fraction) {
  return options.progress ? options.progress(fraction) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<Perplexity> EvaluatePerplexity(const ExecutionContext& context, const Transformer& model,
                                              const EvaluationTokens& tokens, const EvaluationOptions& options) {
  RETURN_IF_ERROR(CheckTargets(tokens));
  ASSIGN_OR_RETURN(Scorer scorer, Scorer::Create(context, model));
  ASSIGN_OR_RETURN(HiddenStates hidden, HiddenStates::Create(context, model, tokens, options.scratch_directory));
  RETURN_IF_ERROR(hidden.Embed(tokens));
  const auto step = [&](double share) { return Report(options, (1 - kScoringShare) * share); };
  RETURN_IF_ERROR(hidden.Run(step));
  Tally tally;
  for (size_t w = 0; w < tokens.windows.size(); ++w) {
    const auto score_chunk = [&](int64_t row, absl::Span<const int32_t> targets) -> absl::Status {
      RETURN_IF_ERROR(scorer.Score(hidden.store(), static_cast<int64_t>(w), row, targets));
      tally.Add(w, scorer.scores(), targets);
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(ForEachChunk(tokens.windows[w], score_chunk));
    const double share = static_cast<double>(w + 1) / static_cast<double>(tokens.windows.size());
    RETURN_IF_ERROR(Report(options, 1 - kScoringShare + kScoringShare * share));
  }
  return std::move(tally).Finish();
}

}  // namespace quantd
