// How fast a model runs here. For reports only: the figures differ from run to run and enter nothing that is compared.
#ifndef QUANTD_CORE_EVAL_SPEED_H_
#define QUANTD_CORE_EVAL_SPEED_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/model/transformer.h"

namespace quantd {

struct SpeedOptions {
  int64_t prefill_tokens = 256;  // one sequence of so many tokens; both together at most the model's context
  int64_t decode_tokens = 16;    // then so many tokens one by one, with the cache of the prefill
  int repetitions = 3;           // the median counts; one more run before them is not timed
};

struct Speed {
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;
};

// Every block and the head are loaded, in the form that runs, before the clock starts. SPEED_NEEDS_MEMORY
// (FAILED_PRECONDITION) when that and the cache exceed the memory budget: nothing was loaded then.
// SPEED_OPTIONS_OUT_OF_RANGE below one token or repetition. Other reasons: those of Transformer. A step ends with the
// logits of its last token. decode_tokens_per_second is 0 where the model's context holds one token only.
absl::StatusOr<Speed> MeasureSpeed(const ExecutionContext& context, const Transformer& model,
                                   const SpeedOptions& options);

}  // namespace quantd

#endif  // QUANTD_CORE_EVAL_SPEED_H_
