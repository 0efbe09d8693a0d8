#include "core/model/generate.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int64_t kOpenContext = 4096;  // for models without a limit of their own

// splitmix64: the same draws on every machine.
class Draws {
 public:
  explicit Draws(uint64_t seed) : state_(seed) {}
  double Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
  }

 private:
  uint64_t state_;
};

int32_t Choose(absl::Span<const float> logits, double temperature, Draws& draws) {
  const auto top = std::max_element(logits.begin(), logits.end());
  if (temperature <= 0) return static_cast<int32_t>(top - logits.begin());
  std::vector<double> cumulative;
  double total = 0;
  for (const float logit : logits)
    cumulative.push_back(total += std::exp((static_cast<double>(logit) - *top) / temperature));
  const auto it = std::upper_bound(cumulative.begin(), cumulative.end(), draws.Next() * total);
  return static_cast<int32_t>(std::min<int64_t>(it - cumulative.begin(), static_cast<int64_t>(logits.size()) - 1));
}

class Generator {
 public:
  Generator(const ExecutionContext& context, const Transformer& model, int64_t capacity)
      : context_(context),
        model_(model),
        cache_(model.config(), capacity),
        logits_(1, model.config().vocabulary_size) {}

  absl::Status Load(WeightForm form) {
    for (int b = 0; b < model_.config().blocks; ++b) {
      ASSIGN_OR_RETURN(Block block, model_.LoadBlock(b, form));
      blocks_.push_back(std::move(block));
    }
    ASSIGN_OR_RETURN(head_, model_.LoadHead(form));
    return absl::OkStatus();
  }

  // Logits of the token after `ids`, which follow what was fed before.
  absl::Status Feed(absl::Span<const int32_t> ids) {
    const int64_t tokens = static_cast<int64_t>(ids.size());
    Matrix hidden(tokens, model_.config().hidden_size);
    RETURN_IF_ERROR(model_.Embed(context_, ids, cache_.length(), hidden.view()));
    for (const Block& block : blocks_) {
      const ForwardOptions options{.first_position = cache_.length(), .cache = &cache_};
      RETURN_IF_ERROR(model_.ForwardBlock(context_, block, options, hidden.view()));
    }
    cache_.Advance(tokens);
    model_.Logits(context_, head_, hidden.view().Rows(tokens - 1, 1), logits_.view());
    return absl::OkStatus();
  }

  absl::Span<const float> logits() const { return logits_.span(); }
  bool full() const { return cache_.length() >= cache_.capacity(); }

 private:
  const ExecutionContext& context_;
  const Transformer& model_;
  KvCache cache_;
  std::vector<Block> blocks_;
  Head head_;
  Matrix logits_;
};

}  // namespace

absl::Status Generate(const ExecutionContext& context, const Transformer& model, absl::Span<const int32_t> prompt,
                      const GenerateOptions& options, const std::function<bool(int32_t)>& on_token) {
  const int64_t limit = model.config().context == 0 ? kOpenContext : model.config().context;
  const int64_t length = static_cast<int64_t>(prompt.size());
  if (prompt.empty()) return InvalidInput("PROMPT_EMPTY", "the prompt has no tokens; give some text");
  if (length > limit) {
    return InvalidInput("PROMPT_TOO_LONG",
                        absl::StrFormat("the prompt has %d tokens, the context is %d", length, limit));
  }
  Generator generator(context, model, length + std::clamp<int64_t>(options.max_tokens, 0, limit - length));
  RETURN_IF_ERROR(generator.Load(options.form));
  RETURN_IF_ERROR(generator.Feed(prompt));
  Draws draws(options.seed);
  const auto& ends = model.config().eos_ids;
  for (int64_t i = 0; i < options.max_tokens; ++i) {
    const int32_t id = Choose(generator.logits(), options.temperature, draws);
    if (std::find(ends.begin(), ends.end(), id) != ends.end() || !on_token(id)) break;
    if (generator.full()) break;
    RETURN_IF_ERROR(generator.Feed(absl::MakeConstSpan(&id, 1)));
  }
  return absl::OkStatus();
}

}  // namespace quantd
