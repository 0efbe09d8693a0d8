// How well a model predicts a text, and how far a quantized model has moved from the original on the same tokens.
//
//   ASSIGN_OR_RETURN(const Comparison comparison, CompareModels(context, original, quantized, tokens, options));
//   comparison.quantized.perplexity; comparison.kl.mean; comparison.same_top1; ...
//
// Definitions (docs/evaluation.md): natural logarithms; windows know nothing of each other; a window of n tokens has
// targets [first_target, n), each predicted from all tokens before it. Logits are f32, everything after them f64.
// Streaming: one block's weights at a time; the hidden states of all windows at one boundary (on disk above the memory
// budget); logits in chunks. The result does not depend on the number of threads or on the instruction set chosen here
// (matrix products excepted). Two identical models give KL 0, same_top1 1 and every difference 0, exactly.
#ifndef QUANTD_CORE_EVAL_EVALUATE_H_
#define QUANTD_CORE_EVAL_EVALUATE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/eval/statistics.h"
#include "core/model/transformer.h"
#include "core/tensor/state_tensor.h"
#include "core/text/corpus.h"

namespace quantd {

struct EvaluationOptions {
  std::string scratch_directory;  // for hidden states above the memory budget; empty: the system's temporary directory
  // Called from the calling thread after each piece of work with the share done, 0..1, never decreasing. A status that
  // is not OK (CANCELLED) stops the evaluation and is returned. May be empty.
  std::function<absl::Status(double fraction)> progress;
};

// Where a comparison is; everything before is done.
struct ComparisonPlace {
  enum class Stage { kOriginal, kQuantized, kScores };
  Stage stage = Stage::kOriginal;
  int block = 0;       // of the model of the stage
  int64_t window = 0;  // of the block, or of the scores
};

// What is needed to go on from a place. Valid during the call it is passed to.
struct ComparisonState {
  ComparisonPlace place;
  std::vector<StatePart> parts;
};

// A state of an earlier run with the same models and tokens, read back.
struct SavedComparison {
  ComparisonPlace place;
  StateSource part;
};

struct ComparisonOptions {
  EvaluationOptions evaluation = {};
  // Called after `progress` (even when that says to stop) when there is a state from which another run can go on.
  std::function<absl::Status(absl::FunctionRef<ComparisonState()> state)> safe_point = {};
  const SavedComparison* saved = nullptr;  // goes on from there; null: from the beginning
};

struct WindowScore {
  int64_t targets = 0;
  double nll_sum = 0;        // negative log-likelihood of its targets, nats
  int64_t top1_correct = 0;  // targets that were the most likely token (the lowest id among equals)
};

struct Perplexity {
  int64_t windows = 0;
  int64_t targets = 0;
  double nll_sum = 0;           // nats, over all targets
  double mean_nll = 0;          // nll_sum / targets
  double perplexity = 0;        // exp(mean_nll)
  double perplexity_error = 0;  // standard error from tokens: perplexity * sqrt(var(nll) / (targets - 1))
  double top1_accuracy = 0;     // share of targets that were the most likely token
  std::vector<WindowScore> window_scores;
};

// KL(original || quantized) over the target positions, nats a token.
struct KlSummary {
  double mean = 0;
  double median = 0;
  double p90 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
  LogHistogram histogram;
  std::vector<double> window_sums;
};

struct Comparison {
  Perplexity original;
  Perplexity quantized;
  double log_perplexity_ratio = 0;  // mean of nll_quantized - nll_original: ln(perplexity ratio)
  double log_perplexity_ratio_error =
      0;  // paired standard error from windows (from tokens when there is only one window)
  KlSummary kl;
  double same_top1 = 0;  // share of positions whose most likely token agrees
  double same_top1_error = 0;
  double delta_p_mean = 0;  // of p_quantized - p_original of the target token
  double delta_p_rms = 0;
};

// Reasons: those of Transformer; EVALUATION_NO_TARGETS; LOGITS_NOT_FINITE (names model, window and position: the
// weights hold huge values); those of ActivationStore; whatever `progress` returns.
absl::StatusOr<Perplexity> EvaluatePerplexity(const ExecutionContext& context, const Transformer& model,
                                              const EvaluationTokens& tokens, const EvaluationOptions& options);

// Additionally MODELS_DIFFER when the vocabularies have different sizes, and CHECKPOINT_MALFORMED when `saved` is not a
// state of this comparison.
absl::StatusOr<Comparison> CompareModels(const ExecutionContext& context, const Transformer& original,
                                         const Transformer& quantized, const EvaluationTokens& tokens,
                                         const ComparisonOptions& options);

// The share of a comparison that is done at a place, 0..1.
double ShareDone(const ComparisonPlace& place, int blocks, int64_t windows);

}  // namespace quantd

#endif  // QUANTD_CORE_EVAL_EVALUATE_H_
