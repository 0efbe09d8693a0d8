#include "core/eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int64_t kChunkRows = 128;  // positions whose logits are held at once

// What one model says about one target position.
struct TokenScore {
  double nll = 0;
  int32_t top1 = 0;
  double log_sum = 0;  // log of the sum of exponentials of all logits
};

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

// KL(P || Q) = sum p (log p - log q), in nats. Equal logits give exactly 0.
double Divergence(absl::Span<const float> p, const TokenScore& p_score, absl::Span<const float> q,
                  const TokenScore& q_score) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double log_p = p[i] - p_score.log_sum;
    sum += std::exp(log_p) * (log_p - (q[i] - q_score.log_sum));
  }
  return std::max(sum, 0.0);
}

std::vector<int64_t> Lengths(const EvaluationTokens& tokens) {
  std::vector<int64_t> lengths;
  for (const EvaluationWindow& window : tokens.windows) lengths.push_back(static_cast<int64_t>(window.tokens.size()));
  return lengths;
}

absl::Status Report(const EvaluationOptions& options, double fraction) {
  return options.progress ? options.progress(fraction) : absl::OkStatus();
}

// The same options with progress mapped into [from, to].
EvaluationOptions Part(const EvaluationOptions& options, double from, double to) {
  EvaluationOptions part = options;
  if (options.progress) {
    part.progress = [&options, from, to](double fraction) { return options.progress(from + (to - from) * fraction); };
  }
  return part;
}

// One model's logits, chunk by chunk.
struct ScoredModel {
  const Transformer* model;
  Head head;
  ActivationStore hidden;
  Matrix logits;
  std::vector<TokenScore> scores;

  absl::Status Compute(const ExecutionContext& context, int64_t window, int64_t first,
                       absl::Span<const int32_t> targets) {
    const int64_t rows = static_cast<int64_t>(targets.size());
    const MutableMatrixView out = logits.view().Rows(0, rows);
    model->Logits(context, head, MatrixView(hidden.sequence(window)).Rows(first, rows), out);
    scores.assign(targets.size(), {});
    std::vector<absl::Status> statuses(targets.size());
    context.pool().ParallelFor(rows, [&](int64_t r) {
      auto score = ScoreRow(out.row_span(r), targets[r]);
      if (score.ok()) scores[r] = *score;
      statuses[r] = score.status();
    });
    for (size_t r = 0; r < statuses.size(); ++r) {
      if (!statuses[r].ok()) {
        return WithContext(statuses[r], absl::StrFormat("%s: window %d, position %d", model->config().source, window,
                                                        first + static_cast<int64_t>(r)));
      }
    }
    return absl::OkStatus();
  }
};

absl::StatusOr<ScoredModel> Prepare(const ExecutionContext& context, const Transformer& model,
                                    const EvaluationTokens& tokens, const EvaluationOptions& options) {
  ASSIGN_OR_RETURN(Head head, model.LoadHead());
  ASSIGN_OR_RETURN(ActivationStore hidden, FinalHiddenStates(context, model, tokens, options));
  return ScoredModel{
      &model, std::move(head), std::move(hidden), Matrix(kChunkRows, model.config().vocabulary_size), {}};
}

// Per-token values of one model, and what they add up to.
struct Tally {
  std::vector<double> nll;
  std::vector<WindowScore> windows;

  void Add(size_t window, absl::Span<const TokenScore> scores, absl::Span<const int32_t> targets) {
    if (windows.size() <= window) windows.resize(window + 1);
    WindowScore& score = windows[window];
    for (size_t i = 0; i < scores.size(); ++i) {
      nll.push_back(scores[i].nll);
      score.nll_sum += scores[i].nll;
      score.top1_correct += scores[i].top1 == targets[i];
      ++score.targets;
    }
  }

  Perplexity Finish() && {
    Perplexity result;
    result.windows = static_cast<int64_t>(windows.size());
    result.targets = static_cast<int64_t>(nll.size());
    result.nll_sum = Sum(nll);
    result.mean_nll = result.nll_sum / static_cast<double>(nll.size());
    result.perplexity = std::exp(result.mean_nll);
    result.perplexity_error = result.perplexity * StandardError(nll);
    int64_t correct = 0;
    for (const WindowScore& window : windows) correct += window.top1_correct;
    result.top1_accuracy = static_cast<double>(correct) / static_cast<double>(nll.size());
    result.window_scores = std::move(windows);
    return result;
  }
};

// Calls body(window, first row, targets) for every chunk of target positions, in order.
template <typename Body>
absl::Status ForEachChunk(const EvaluationTokens& tokens, const EvaluationOptions& options, const Body& body) {
  for (size_t w = 0; w < tokens.windows.size(); ++w) {
    const EvaluationWindow& window = tokens.windows[w];
    const int64_t end = static_cast<int64_t>(window.tokens.size()) - 1;
    for (int64_t row = window.first_target - 1; row < end; row += kChunkRows) {
      const int64_t rows = std::min(kChunkRows, end - row);
      RETURN_IF_ERROR(body(w, row, absl::MakeConstSpan(window.tokens).subspan(row + 1, rows)));
    }
    RETURN_IF_ERROR(Report(options, static_cast<double>(w + 1) / static_cast<double>(tokens.windows.size())));
  }
  return absl::OkStatus();
}

absl::Status CheckTargets(const EvaluationTokens& tokens) {
  for (const EvaluationWindow& window : tokens.windows) {
    if (static_cast<int64_t>(window.tokens.size()) > window.first_target) return absl::OkStatus();
  }
  return InvalidInput("EVALUATION_NO_TARGETS", "the evaluation text gives no token to predict; use a longer text");
}

struct PairTally {
  std::vector<double> kl, delta_nll, delta_p;
  std::vector<double> window_kl, window_delta;
  std::vector<int64_t> window_targets;
  int64_t agreeing = 0;

  void Add(size_t window, absl::Span<const TokenScore> p, absl::Span<const TokenScore> q,
           absl::Span<const double> divergence) {
    if (window_kl.size() <= window) {
      window_kl.resize(window + 1);
      window_delta.resize(window + 1);
      window_targets.resize(window + 1);
    }
    for (size_t i = 0; i < p.size(); ++i) {
      kl.push_back(divergence[i]);
      delta_nll.push_back(q[i].nll - p[i].nll);
      delta_p.push_back(std::exp(-q[i].nll) - std::exp(-p[i].nll));
      agreeing += p[i].top1 == q[i].top1;
      window_kl[window] += divergence[i];
      window_delta[window] += delta_nll.back();
      ++window_targets[window];
    }
  }
};

KlSummary Summarize(const std::vector<double>& values, std::vector<double> window_sums) {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  return {.mean = Mean(values),
          .median = SortedQuantile(sorted, 0.5),
          .p90 = SortedQuantile(sorted, 0.9),
          .p99 = SortedQuantile(sorted, 0.99),
          .p999 = SortedQuantile(sorted, 0.999),
          .max = sorted.back(),
          .histogram = MakeKlHistogram(values),
          .window_sums = std::move(window_sums)};
}

void FinishPair(PairTally tally, Comparison& result) {
  const int64_t targets = static_cast<int64_t>(tally.kl.size());
  result.log_perplexity_ratio = Mean(tally.delta_nll);
  result.log_perplexity_ratio_error = tally.window_delta.size() > 1
                                          ? GroupedStandardError(tally.window_delta, tally.window_targets)
                                          : StandardError(tally.delta_nll);
  result.same_top1 = static_cast<double>(tally.agreeing) / static_cast<double>(targets);
  result.same_top1_error = ShareError(result.same_top1, targets);
  result.delta_p_mean = Mean(tally.delta_p);
  for (double& value : tally.delta_p) value *= value;
  result.delta_p_rms = std::sqrt(Mean(tally.delta_p));
  result.kl = Summarize(tally.kl, std::move(tally.window_kl));
}

}  // namespace

absl::StatusOr<ActivationStore> FinalHiddenStates(const ExecutionContext& context, const Transformer& model,
                                                  const EvaluationTokens& tokens, const EvaluationOptions& options) {
  ASSIGN_OR_RETURN(ActivationStore hidden,
                   ActivationStore::Create(Lengths(tokens), model.config().hidden_size,
                                           {context.memory_budget_bytes(), options.scratch_directory}));
  for (int64_t w = 0; w < hidden.sequences(); ++w) {
    RETURN_IF_ERROR(model.Embed(context, tokens.windows[w].tokens, 0, hidden.sequence(w)));
  }
  const double steps = static_cast<double>(model.config().blocks) * static_cast<double>(hidden.sequences());
  for (int b = 0; b < model.config().blocks; ++b) {
    ASSIGN_OR_RETURN(const Block block, model.LoadBlock(b));
    for (int64_t w = 0; w < hidden.sequences(); ++w) {
      RETURN_IF_ERROR(model.ForwardBlock(context, block, {}, hidden.sequence(w)));
      hidden.Release(w);
      RETURN_IF_ERROR(Report(options, static_cast<double>(b * hidden.sequences() + w + 1) / steps));
    }
  }
  return hidden;
}

absl::StatusOr<Perplexity> EvaluatePerplexity(const ExecutionContext& context, const Transformer& model,
                                              const EvaluationTokens& tokens, const EvaluationOptions& options) {
  RETURN_IF_ERROR(CheckTargets(tokens));
  ASSIGN_OR_RETURN(ScoredModel scored, Prepare(context, model, tokens, Part(options, 0, 0.8)));
  Tally tally;
  const auto score_chunk = [&](size_t window, int64_t row, absl::Span<const int32_t> targets) -> absl::Status {
    RETURN_IF_ERROR(scored.Compute(context, static_cast<int64_t>(window), row, targets));
    tally.Add(window, scored.scores, targets);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ForEachChunk(tokens, Part(options, 0.8, 1), score_chunk));
  return std::move(tally).Finish();
}

absl::StatusOr<Comparison> CompareModels(const ExecutionContext& context, const Transformer& original,
                                         const Transformer& quantized, const EvaluationTokens& tokens,
                                         const EvaluationOptions& options) {
  RETURN_IF_ERROR(CheckTargets(tokens));
  if (original.config().vocabulary_size != quantized.config().vocabulary_size) {
    return InvalidInput("MODELS_DIFFER",
                        absl::StrFormat("%s has a vocabulary of %d, %s of %d", original.config().source,
                                        original.config().vocabulary_size, quantized.config().source,
                                        quantized.config().vocabulary_size));
  }
  ASSIGN_OR_RETURN(ScoredModel p, Prepare(context, original, tokens, Part(options, 0, 0.35)));
  ASSIGN_OR_RETURN(ScoredModel q, Prepare(context, quantized, tokens, Part(options, 0.35, 0.7)));
  Tally p_tally, q_tally;
  PairTally pair;
  std::vector<double> divergence;
  const auto score_chunk = [&](size_t window, int64_t row, absl::Span<const int32_t> targets) -> absl::Status {
    RETURN_IF_ERROR(p.Compute(context, static_cast<int64_t>(window), row, targets));
    RETURN_IF_ERROR(q.Compute(context, static_cast<int64_t>(window), row, targets));
    divergence.assign(targets.size(), 0);
    context.pool().ParallelFor(static_cast<int64_t>(targets.size()), [&](int64_t r) {
      divergence[r] = Divergence(p.logits.view().row_span(r), p.scores[r], q.logits.view().row_span(r), q.scores[r]);
    });
    p_tally.Add(window, p.scores, targets);
    q_tally.Add(window, q.scores, targets);
    pair.Add(window, p.scores, q.scores, divergence);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ForEachChunk(tokens, Part(options, 0.7, 1), score_chunk));
  Comparison result;
  result.original = std::move(p_tally).Finish();
  result.quantized = std::move(q_tally).Finish();
  FinishPair(std::move(pair), result);
  return result;
}

}  // namespace quantd
