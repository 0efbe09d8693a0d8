#include "core/eval/tally.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/status.h"

namespace quantd {
namespace {

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

absl::Status CheckLengths(bool equal) {
  if (equal) return absl::OkStatus();
  return InvalidInput("CHECKPOINT_MALFORMED", "the checkpoint's scores have different lengths");
}

}  // namespace

void Tally::Add(size_t window, absl::Span<const TokenScore> scores, absl::Span<const int32_t> targets) {
  if (targets_.size() <= window) {
    targets_.resize(window + 1);
    nll_sums_.resize(window + 1);
    top1_correct_.resize(window + 1);
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    nll_.push_back(scores[i].nll);
    nll_sums_[window] += scores[i].nll;
    top1_correct_[window] += scores[i].top1 == targets[i];
    ++targets_[window];
  }
}

Perplexity Tally::Finish() && {
  Perplexity result;
  result.windows = static_cast<int64_t>(targets_.size());
  result.targets = static_cast<int64_t>(nll_.size());
  result.nll_sum = Sum(nll_);
  result.mean_nll = result.nll_sum / static_cast<double>(nll_.size());
  result.perplexity = std::exp(result.mean_nll);
  result.perplexity_error = result.perplexity * StandardError(nll_);
  int64_t correct = 0;
  for (size_t w = 0; w < targets_.size(); ++w) {
    correct += top1_correct_[w];
    result.window_scores.push_back({targets_[w], nll_sums_[w], top1_correct_[w]});
  }
  result.top1_accuracy = static_cast<double>(correct) / static_cast<double>(nll_.size());
  return result;
}

void Tally::Save(const std::string& prefix, std::vector<StateTensor>& out) const {
  out.push_back(StateOf(prefix + "nll", nll_));
  out.push_back(StateOf(prefix + "targets", targets_));
  out.push_back(StateOf(prefix + "nll_sums", nll_sums_));
  out.push_back(StateOf(prefix + "top1_correct", top1_correct_));
}

absl::Status Tally::Load(const StateTensors& saved) {
  RETURN_IF_ERROR(saved.LoadAll("nll", nll_));
  RETURN_IF_ERROR(saved.LoadAll("targets", targets_));
  RETURN_IF_ERROR(saved.LoadAll("nll_sums", nll_sums_));
  RETURN_IF_ERROR(saved.LoadAll("top1_correct", top1_correct_));
  return CheckLengths(targets_.size() == nll_sums_.size() && targets_.size() == top1_correct_.size());
}

void PairTally::Add(size_t window, absl::Span<const TokenScore> p, absl::Span<const TokenScore> q,
                    absl::Span<const double> divergence) {
  if (window_kl_.size() <= window) {
    window_kl_.resize(window + 1);
    window_delta_.resize(window + 1);
    window_targets_.resize(window + 1);
  }
  for (size_t i = 0; i < p.size(); ++i) {
    kl_.push_back(divergence[i]);
    delta_nll_.push_back(q[i].nll - p[i].nll);
    delta_p_.push_back(std::exp(-q[i].nll) - std::exp(-p[i].nll));
    agreeing_ += p[i].top1 == q[i].top1;
    window_kl_[window] += divergence[i];
    window_delta_[window] += delta_nll_.back();
    ++window_targets_[window];
  }
}

void PairTally::Finish(Comparison& result) && {
  const int64_t targets = static_cast<int64_t>(kl_.size());
  result.log_perplexity_ratio = Mean(delta_nll_);
  result.log_perplexity_ratio_error =
      window_delta_.size() > 1 ? GroupedStandardError(window_delta_, window_targets_) : StandardError(delta_nll_);
  result.same_top1 = static_cast<double>(agreeing_) / static_cast<double>(targets);
  result.same_top1_error = ShareError(result.same_top1, targets);
  result.delta_p_mean = Mean(delta_p_);
  for (double& value : delta_p_) value *= value;
  result.delta_p_rms = std::sqrt(Mean(delta_p_));
  result.kl = Summarize(kl_, std::move(window_kl_));
}

void PairTally::Save(const std::string& prefix, std::vector<StateTensor>& out) const {
  out.push_back(StateOf(prefix + "kl", kl_));
  out.push_back(StateOf(prefix + "delta_nll", delta_nll_));
  out.push_back(StateOf(prefix + "delta_p", delta_p_));
  out.push_back(StateOf(prefix + "window_kl", window_kl_));
  out.push_back(StateOf(prefix + "window_delta", window_delta_));
  out.push_back(StateOf(prefix + "window_targets", window_targets_));
  out.push_back(StateOf<int64_t>(prefix + "agreeing", absl::MakeConstSpan(&agreeing_, 1), {1}));
}

absl::Status PairTally::Load(const StateTensors& saved) {
  RETURN_IF_ERROR(saved.LoadAll("kl", kl_));
  RETURN_IF_ERROR(saved.LoadAll("delta_nll", delta_nll_));
  RETURN_IF_ERROR(saved.LoadAll("delta_p", delta_p_));
  RETURN_IF_ERROR(saved.LoadAll("window_kl", window_kl_));
  RETURN_IF_ERROR(saved.LoadAll("window_delta", window_delta_));
  RETURN_IF_ERROR(saved.LoadAll("window_targets", window_targets_));
  RETURN_IF_ERROR(saved.Load("agreeing", absl::MakeSpan(&agreeing_, 1)));
  return CheckLengths(kl_.size() == delta_nll_.size() && kl_.size() == delta_p_.size() &&
                      window_kl_.size() == window_delta_.size() && window_kl_.size() == window_targets_.size());
}

}  // namespace quantd
