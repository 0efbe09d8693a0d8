// Text generation, one token after the other.
#ifndef QUANTD_CORE_MODEL_GENERATE_H_
#define QUANTD_CORE_MODEL_GENERATE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/compute/execution_context.h"
#include "core/model/transformer.h"

namespace quantd {

struct GenerateOptions {
  int64_t max_tokens = 64;  // 0 or less: none
  double temperature = 0;   // 0: the most likely token each time
  uint64_t seed = 0;        // of the draws
  WeightForm form = WeightForm::kToRunRounded;
};

// Calls `on_token` with each new id; ends at an end-of-text id (not reported), after max_tokens, with the token that a
// full context predicts, or when on_token returns false. A model without a limit of its own has a context of 4096. All
// weights are held in the given form. PROMPT_EMPTY, PROMPT_TOO_LONG; else the reasons of Transformer.
absl::Status Generate(const ExecutionContext& context, const Transformer& model, absl::Span<const int32_t> prompt,
                      const GenerateOptions& options, const std::function<bool(int32_t)>& on_token);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_GENERATE_H_
