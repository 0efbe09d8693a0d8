// The loss that gradients are taken of: next-token cross-entropy of one sequence, in nats, the mean over the positions
// that have a next token.
//
//     L = 1 / (T - 1) * sum over t < T - 1 of  -log softmax(logits_t)[label_t]
//
// Labels are the sequence's own next tokens (`kData`: squared gradients are the empirical Fisher), or drawn from the
// model's own softmax at each position (`kSampled`: the true Fisher in expectation). A draw depends on seed, sequence
// number, position and logits alone: not on thread counts, and not on what else is in the run.
//
// The head works on kLossRows positions at a time, so that no tokens x vocabulary matrix is held.
#ifndef QUANTD_CORE_MODEL_SEQUENCE_LOSS_H_
#define QUANTD_CORE_MODEL_SEQUENCE_LOSS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/compute/execution_context.h"
#include "core/model/transformer.h"
#include "core/tensor/matrix.h"

namespace quantd {

enum class LabelSource { kData, kSampled };

struct LossOptions {
  LabelSource labels = LabelSource::kData;
  uint64_t seed = 0;     // of the draws
  int64_t sequence = 0;  // number of the sequence: for the draws and for messages
};

inline constexpr int64_t kLossRows = 128;

// The loss of `ids`, whose hidden states [tokens, hidden_size] at the output of the last block are replaced by the
// loss's gradient there. The last row's is zero: it predicts nothing. The bits do not depend on thread counts.
//
// SEQUENCE_TOO_SHORT below two tokens, TOKEN_OUT_OF_RANGE, LOSS_NOT_FINITE: all name the sequence; `hidden` is undefined
// then.
absl::StatusOr<double> LossGradient(const ExecutionContext& context, const Transformer& model, const Head& head,
                                    const LossOptions& options, absl::Span<const int32_t> ids,
                                    MutableMatrixView hidden);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_SEQUENCE_LOSS_H_
