// Per-token scores of one model, and of two models side by side, and what they add up to. Both can be saved and loaded,
// so that an evaluation goes on in another process with the same bytes.
#ifndef QUANTD_CORE_EVAL_TALLY_H_
#define QUANTD_CORE_EVAL_TALLY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/eval/evaluate.h"
#include "core/tensor/state_tensor.h"

namespace quantd {

// What one model says about one target position.
struct TokenScore {
  double nll = 0;
  int32_t top1 = 0;
  double log_sum = 0;  // log of the sum of exponentials of all logits
};

class Tally {
 public:
  void Add(size_t window, absl::Span<const TokenScore> scores, absl::Span<const int32_t> targets);
  Perplexity Finish() &&;

  // Tensors named `prefix` and something. They are valid until the next Add.
  void Save(const std::string& prefix, std::vector<StateTensor>& out) const;
  absl::Status Load(const StateTensors& saved);  // names without the prefix; CHECKPOINT_MALFORMED
  size_t tokens() const { return nll_.size(); }

 private:
  std::vector<double> nll_;
  // A window each.
  std::vector<int64_t> targets_;
  std::vector<double> nll_sums_;
  std::vector<int64_t> top1_correct_;
};

class PairTally {
 public:
  void Add(size_t window, absl::Span<const TokenScore> p, absl::Span<const TokenScore> q,
           absl::Span<const double> divergence);
  // Everything of the comparison but the two perplexities.
  void Finish(Comparison& result) &&;

  void Save(const std::string& prefix, std::vector<StateTensor>& out) const;
  absl::Status Load(const StateTensors& saved);
  size_t tokens() const { return kl_.size(); }

 private:
  std::vector<double> kl_, delta_nll_, delta_p_;
  std::vector<double> window_kl_, window_delta_;
  std::vector<int64_t> window_targets_;
  int64_t agreeing_ = 0;
};

}  // namespace quantd

#endif  // QUANTD_CORE_EVAL_TALLY_H_
