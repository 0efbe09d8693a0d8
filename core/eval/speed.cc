#include "core/eval/speed.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

struct Lengths {
  int64_t prefill = 0;
  int64_t decode = 0;  // 0 where the model's context leaves no room after one token of prefill
};

// Both together within the model's context.
Lengths Fit(const SpeedOptions& options, int64_t context) {
  if (context == 0) return {options.prefill_tokens, options.decode_tokens};
  Lengths lengths;
  lengths.decode = std::min(options.decode_tokens, context - 1);
  lengths.prefill = std::min(options.prefill_tokens, context - lengths.decode);
  return lengths;
}

absl::Status CheckOptions(const SpeedOptions& options) {
  constexpr int64_t kMaxTokens = int64_t{1} << 20;
  constexpr int kMaxRepetitions = 1000;
  const auto in_range = [](int64_t value, int64_t most) { return value >= 1 && value <= most; };
  if (in_range(options.prefill_tokens, kMaxTokens) && in_range(options.decode_tokens, kMaxTokens) &&
      in_range(options.repetitions, kMaxRepetitions)) {
    return absl::OkStatus();
  }
  return InvalidInput(
      "SPEED_OPTIONS_OUT_OF_RANGE",
      absl::StrFormat("speed: %d prefill tokens, %d decode tokens (each 1..%d), %d repetitions (1..%d)",
                      options.prefill_tokens, options.decode_tokens, kMaxTokens, options.repetitions, kMaxRepetitions));
}

// Weights in the form that runs, the head at its largest, keys and values of all tokens. In floating point: a limit
// needs no exact count, and this cannot overflow.
absl::StatusOr<double> NeededBytes(const Transformer& model, const Lengths& lengths) {
  const ModelConfig& config = model.config();
  const double cached_per_token = 2.0 * config.blocks * static_cast<double>(config.kv_heads * config.head_size);
  double bytes =
      sizeof(float) * (static_cast<double>(config.vocabulary_size) * static_cast<double>(config.hidden_size) +
                       static_cast<double>(lengths.prefill + lengths.decode) * cached_per_token);
  for (const LinearSite& site : model.sites()) {
    ASSIGN_OR_RETURN(const double of_site, model.weights().LinearBytes(site.name + ".weight"));
    bytes += of_site;
  }
  return bytes;
}

absl::Status CheckMemory(const ExecutionContext& context, const Transformer& model, const Lengths& lengths) {
  ASSIGN_OR_RETURN(const double needed, NeededBytes(model, lengths));
  if (needed <= static_cast<double>(context.memory_budget_bytes())) return absl::OkStatus();
  return ReasonError(
      absl::StatusCode::kFailedPrecondition, "SPEED_NEEDS_MEMORY",
      absl::StrFormat("%s: measuring speed holds all weights in memory, %.0f bytes, and the memory budget is %d bytes; "
                      "raise the budget or leave the measurement out",
                      model.config().source, needed, context.memory_budget_bytes()));
}

// Ids that walk through the vocabulary: what they are makes no difference to the time.
std::vector<int32_t> SomeTokens(int64_t count, int64_t vocabulary) {
  constexpr int64_t kStride = 7919;  // prime
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) ids[i] = static_cast<int32_t>(i * kStride % vocabulary);
  return ids;
}

class LoadedModel {
 public:
  static absl::StatusOr<LoadedModel> Load(const Transformer& model) {
    LoadedModel loaded(model);
    ASSIGN_OR_RETURN(loaded.head_, model.LoadHead(WeightForm::kToRunRounded));
    for (int b = 0; b < model.config().blocks; ++b) {
      ASSIGN_OR_RETURN(Block block, model.LoadBlock(b, WeightForm::kToRunRounded));
      loaded.blocks_.push_back(std::move(block));
    }
    return loaded;
  }

  // Runs `ids` behind what the cache holds, up to the logits of the last one: what a generator needs.
  absl::Status Step(const ExecutionContext& context, absl::Span<const int32_t> ids, KvCache& cache) {
    const int64_t tokens = static_cast<int64_t>(ids.size());
    Matrix hidden(tokens, model_->config().hidden_size);
    RETURN_IF_ERROR(model_->Embed(context, ids, cache.length(), hidden.view()));
    const ForwardOptions options = {.first_position = cache.length(), .observer = nullptr, .cache = &cache};
    for (const Block& block : blocks_) {
      RETURN_IF_ERROR(model_->ForwardBlock(context, block, options, hidden.view()));
    }
    cache.Advance(tokens);
    model_->Logits(context, head_, MatrixView(hidden.view()).Rows(tokens - 1, 1), logits_.view());
    return absl::OkStatus();
  }

 private:
  explicit LoadedModel(const Transformer& model) : model_(&model), logits_(1, model.config().vocabulary_size) {}
  const Transformer* model_;
  std::vector<Block> blocks_;
  Head head_;
  Matrix logits_;
};

// Tokens a second of one run from an empty cache.
absl::StatusOr<Speed> RunOnce(const ExecutionContext& context, const Transformer& model, const Lengths& lengths,
                              LoadedModel& loaded) {
  const std::vector<int32_t> ids = SomeTokens(lengths.prefill + lengths.decode, model.config().vocabulary_size);
  const absl::Span<const int32_t> all = ids;
  KvCache cache(model.config(), lengths.prefill + lengths.decode);
  Speed speed;
  const auto prefill_start = SteadyClock::now();
  RETURN_IF_ERROR(loaded.Step(context, all.first(lengths.prefill), cache));
  speed.prefill_tokens_per_second = static_cast<double>(lengths.prefill) / SecondsSince(prefill_start);
  const auto decode_start = SteadyClock::now();
  for (int64_t i = 0; i < lengths.decode; ++i) {
    RETURN_IF_ERROR(loaded.Step(context, all.subspan(lengths.prefill + i, 1), cache));
  }
  if (lengths.decode > 0) {
    speed.decode_tokens_per_second = static_cast<double>(lengths.decode) / SecondsSince(decode_start);
  }
  return speed;
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

absl::StatusOr<Speed> MeasureSpeed(const ExecutionContext& context, const Transformer& model,
                                   const SpeedOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  const Lengths lengths = Fit(options, model.config().context);
  RETURN_IF_ERROR(CheckMemory(context, model, lengths));
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadedModel::Load(model));
  RETURN_IF_ERROR(RunOnce(context, model, lengths, loaded).status());
  std::vector<double> prefill, decode;
  for (int repetition = 0; repetition < options.repetitions; ++repetition) {
    ASSIGN_OR_RETURN(const Speed speed, RunOnce(context, model, lengths, loaded));
    prefill.push_back(speed.prefill_tokens_per_second);
    decode.push_back(speed.decode_tokens_per_second);
  }
  return Speed{Median(std::move(prefill)), Median(std::move(decode))};
}

}  // namespace quantd
