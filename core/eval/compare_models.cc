// CompareModels: both models on the same tokens, from the beginning or from a saved place.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/eval/evaluate.h"
#include "core/eval/scored_model.h"
#include "core/eval/tally.h"

namespace quantd {
namespace {

using Stage = ComparisonPlace::Stage;

// Shares of the work: through the blocks of each model, then the scores of both.
constexpr double kModelShare = 0.35;
constexpr double kScoresShare = 1 - 2 * kModelShare;

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

class ComparisonRun {
 public:
  static absl::StatusOr<std::unique_ptr<ComparisonRun>> Create(const ExecutionContext& context,
                                                               const Transformer& original,
                                                               const Transformer& quantized,
                                                               const EvaluationTokens& tokens,
                                                               const ComparisonOptions& options) {
    const std::string& scratch = options.evaluation.scratch_directory;
    ASSIGN_OR_RETURN(HiddenStates p, HiddenStates::Create(context, original, tokens, scratch));
    ASSIGN_OR_RETURN(HiddenStates q, HiddenStates::Create(context, quantized, tokens, scratch));
    return std::unique_ptr<ComparisonRun>(
        new ComparisonRun(context, original, quantized, tokens, options, std::move(p), std::move(q)));
  }

  absl::StatusOr<Comparison> Run() {
    RETURN_IF_ERROR(Begin());
    const auto step = [this](double /*share*/) { return Step(); };
    RETURN_IF_ERROR(p_hidden_.Run(step));
    stage_ = std::max(stage_, Stage::kQuantized);
    RETURN_IF_ERROR(q_hidden_.Run(step));
    stage_ = Stage::kScores;
    RETURN_IF_ERROR(Score());
    Comparison result;
    result.original = std::move(p_tally_).Finish();
    result.quantized = std::move(q_tally_).Finish();
    std::move(pair_).Finish(result);
    return result;
  }

 private:
  ComparisonRun(const ExecutionContext& context, const Transformer& original, const Transformer& quantized,
                const EvaluationTokens& tokens, const ComparisonOptions& options, HiddenStates p, HiddenStates q)
      : context_(context),
        original_(original),
        quantized_(quantized),
        tokens_(tokens),
        options_(options),
        p_hidden_(std::move(p)),
        q_hidden_(std::move(q)) {}

  absl::Status Begin() {
    if (options_.saved != nullptr) return Restore(options_.saved->place, options_.saved->part);
    RETURN_IF_ERROR(p_hidden_.Embed(tokens_));
    return q_hidden_.Embed(tokens_);
  }

  absl::Status Restore(const ComparisonPlace& place, const StateSource& part) {
    stage_ = place.stage;
    if (stage_ == Stage::kOriginal) {
      RETURN_IF_ERROR(p_hidden_.Load(place.block, place.window, tokens_, "original", part));
      return q_hidden_.Embed(tokens_);
    }
    RETURN_IF_ERROR(p_hidden_.Load(original_.config().blocks, 0, tokens_, "original", part));
    if (stage_ == Stage::kQuantized) return q_hidden_.Load(place.block, place.window, tokens_, "quantized", part);
    RETURN_IF_ERROR(q_hidden_.Load(quantized_.config().blocks, 0, tokens_, "quantized", part));
    return RestoreScores(place.window, part);
  }

  absl::Status RestoreScores(int64_t window, const StateSource& part) {
    scored_ = window;
    if (window < 0 || window > static_cast<int64_t>(tokens_.windows.size())) {
      return InvalidInput("CHECKPOINT_MALFORMED", absl::StrFormat("the checkpoint has scored %d of %d windows", window,
                                                                  tokens_.windows.size()));
    }
    if (window == 0) return absl::OkStatus();
    ASSIGN_OR_RETURN(const StateTensors saved, part(ScoresPartName()));
    RETURN_IF_ERROR(p_tally_.Load(saved.Below("original.")));
    RETURN_IF_ERROR(q_tally_.Load(saved.Below("quantized.")));
    RETURN_IF_ERROR(pair_.Load(saved.Below("pair.")));
    if (p_tally_.tokens() == pair_.tokens() && q_tally_.tokens() == pair_.tokens()) return absl::OkStatus();
    return InvalidInput("CHECKPOINT_MALFORMED", "the checkpoint's scores are of different tokens");
  }

  absl::Status Score() {
    ASSIGN_OR_RETURN(Scorer p, Scorer::Create(context_, original_));
    ASSIGN_OR_RETURN(Scorer q, Scorer::Create(context_, quantized_));
    while (scored_ < static_cast<int64_t>(tokens_.windows.size())) {
      const auto score_chunk = [&](int64_t row, absl::Span<const int32_t> targets) {
        return ScoreChunk(p, q, row, targets);
      };
      RETURN_IF_ERROR(ForEachChunk(tokens_.windows[scored_], score_chunk));
      ++scored_;
      RETURN_IF_ERROR(Step());
    }
    return absl::OkStatus();
  }

  absl::Status ScoreChunk(Scorer& p, Scorer& q, int64_t row, absl::Span<const int32_t> targets) {
    RETURN_IF_ERROR(p.Score(p_hidden_.store(), scored_, row, targets));
    RETURN_IF_ERROR(q.Score(q_hidden_.store(), scored_, row, targets));
    divergence_.assign(targets.size(), 0);
    context_.pool().ParallelFor(static_cast<int64_t>(targets.size()), [&](int64_t r) {
      divergence_[r] = Divergence(p.logits(r), p.scores()[r], q.logits(r), q.scores()[r]);
    });
    const size_t window = static_cast<size_t>(scored_);
    p_tally_.Add(window, p.scores(), targets);
    q_tally_.Add(window, q.scores(), targets);
    pair_.Add(window, p.scores(), q.scores(), divergence_);
    return absl::OkStatus();
  }

  absl::Status Step() {
    const ComparisonPlace place = Place();
    const auto& progress = options_.evaluation.progress;
    const absl::Status go_on =
        progress ? progress(ShareDone(place, original_.config().blocks, static_cast<int64_t>(tokens_.windows.size())))
                 : absl::OkStatus();
    if (options_.safe_point) RETURN_IF_ERROR(options_.safe_point([this] { return State(); }));
    return go_on;
  }

  ComparisonPlace Place() const {
    if (stage_ == Stage::kScores) return {stage_, 0, scored_};
    const HiddenStates& hidden = stage_ == Stage::kOriginal ? p_hidden_ : q_hidden_;
    return {stage_, hidden.block(), hidden.window()};
  }

  ComparisonState State() const {
    ComparisonState state{Place(), {}};
    if (!p_hidden_.embedded_only()) state.parts.push_back(p_hidden_.Save("original"));
    if (!q_hidden_.embedded_only()) state.parts.push_back(q_hidden_.Save("quantized"));
    if (scored_ > 0) state.parts.push_back({ScoresPartName(), [this] { return SaveScores(); }});
    return state;
  }

  StateTensors SaveScores() const {
    std::vector<StateTensor> tensors;
    p_tally_.Save("original.", tensors);
    q_tally_.Save("quantized.", tensors);
    pair_.Save("pair.", tensors);
    return StateTensors(std::move(tensors));
  }

  std::string ScoresPartName() const { return absl::StrFormat("scores-%05d", scored_); }

  const ExecutionContext& context_;
  const Transformer& original_;
  const Transformer& quantized_;
  const EvaluationTokens& tokens_;
  const ComparisonOptions& options_;
  HiddenStates p_hidden_, q_hidden_;
  Stage stage_ = Stage::kOriginal;
  int64_t scored_ = 0;  // windows
  Tally p_tally_, q_tally_;
  PairTally pair_;
  std::vector<double> divergence_;
};

}  // namespace

double ShareDone(const ComparisonPlace& place, int blocks, int64_t windows) {
  const double all = static_cast<double>(std::max<int64_t>(windows, 1));
  const double window = static_cast<double>(place.window);
  if (place.stage == Stage::kScores) return 2 * kModelShare + kScoresShare * window / all;
  const double before = place.stage == Stage::kQuantized ? kModelShare : 0;
  return before + kModelShare * (place.block + window / all) / std::max(blocks, 1);
}

absl::StatusOr<Comparison> CompareModels(const ExecutionContext& context, const Transformer& original,
                                         const Transformer& quantized, const EvaluationTokens& tokens,
                                         const ComparisonOptions& options) {
  RETURN_IF_ERROR(CheckTargets(tokens));
  if (original.config().vocabulary_size != quantized.config().vocabulary_size) {
    return InvalidInput("MODELS_DIFFER",
                        absl::StrFormat("%s has a vocabulary of %d, %s of %d", original.config().source,
                                        original.config().vocabulary_size, quantized.config().source,
                                        quantized.config().vocabulary_size));
  }
  ASSIGN_OR_RETURN(const auto run, ComparisonRun::Create(context, original, quantized, tokens, options));
  return run->Run();
}

}  // namespace quantd
