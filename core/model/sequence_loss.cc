#include "core/model/sequence_loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/compute/vector_kernels.h"
#include "core/model/layer_ops.h"
#include "core/text/random.h"

namespace quantd {
namespace {

// Uniform in [0, 1), of this seed, sequence and position alone.
double Draw(const LossOptions& options, int64_t position) {
  SplitMix64 of_seed(options.seed);
  SplitMix64 of_sequence(of_seed.Next() ^ static_cast<uint64_t>(options.sequence));
  SplitMix64 of_position(of_sequence.Next() ^ static_cast<uint64_t>(position));
  return static_cast<double>(of_position.Next() >> 11) * 0x1p-53;
}

double Sum(absl::Span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += value;
  return sum;
}

// The first label at which the running sum of shares exceeds `u` times their sum.
int32_t Sample(absl::Span<const float> shares, double u) {
  const double limit = u * Sum(shares);
  double sum = 0;
  size_t last = 0;  // with a share
  for (size_t label = 0; label < shares.size(); ++label) {
    if (shares[label] == 0) continue;
    sum += shares[label];
    last = label;
    if (sum > limit) break;
  }
  return static_cast<int32_t>(last);
}

absl::Status CheckIds(const LossOptions& options, absl::Span<const int32_t> ids, int64_t vocabulary_size) {
  if (ids.size() < 2) {
    return InvalidInput("SEQUENCE_TOO_SHORT",
                        absl::StrFormat("sequence %d has %d tokens; a loss needs two", options.sequence, ids.size()));
  }
  for (size_t t = 0; t < ids.size(); ++t) {
    if (ids[t] >= 0 && ids[t] < vocabulary_size) continue;
    return InvalidInput("TOKEN_OUT_OF_RANGE",
                        absl::StrFormat("sequence %d: token id %d at index %d; the vocabulary has "
                                        "%d",
                                        options.sequence, ids[t], t, vocabulary_size));
  }
  return absl::OkStatus();
}

// Some rows of one sequence: logits in, their gradient out.
class LossRows {
 public:
  LossRows(const ExecutionContext& context, const LossOptions& options, absl::Span<const int32_t> ids)
      : context_(context), options_(options), ids_(ids), losses_(kLossRows) {}

  // `first`: position of row 0. Gives the sum of the rows' losses.
  absl::StatusOr<double> Run(int64_t first, MutableMatrixView logits) {
    const VectorKernels& kernels = VectorKernelsFor(context_.isa());
    ForRows(context_, logits.rows, [&](int64_t r) { losses_[r] = RunRow(kernels, first + r, logits.row_span(r)); });
    double sum = 0;
    for (int64_t r = 0; r < logits.rows; ++r) {
      if (!std::isfinite(losses_[r])) return NotFinite(first + r);
      sum += losses_[r];
    }
    return sum;
  }

 private:
  // -log of the label's share; `row` becomes dL/d(logits).
  double RunRow(const VectorKernels& kernels, int64_t position, absl::Span<float> row) const {
    if (!AllFinite(row)) return NAN;
    int32_t label = ids_[position + 1];
    const double maximum = *std::max_element(row.begin(), row.end());
    double below = maximum - row[label];  // the largest logit less the label's
    kernels.softmax(row.data(), static_cast<int64_t>(row.size()));
    const double top = *std::max_element(row.begin(), row.end());
    if (options_.labels == LabelSource::kSampled) {
      label = Sample(row, Draw(options_, position));
      below = std::log(top / row[label]);
    }
    // `top` is 1 / sum of exp(logit - maximum), up to the rounding of that sum, which the sum of all shares tells.
    const double log_sum = std::log(Sum(row) / top);
    row[label] -= 1.0f;
    const float scale = static_cast<float>(1.0 / static_cast<double>(ids_.size() - 1));
    for (float& value : row) value *= scale;
    return below + log_sum;
  }

  absl::Status NotFinite(int64_t position) const {
    return InvalidInput("LOSS_NOT_FINITE",
                        absl::StrFormat("sequence %d: the logits at position %d behind the last block are not finite: "
                                        "the model overflows on this text, or its weights hold huge values",
                                        options_.sequence, position));
  }

  const ExecutionContext& context_;
  const LossOptions& options_;
  const absl::Span<const int32_t> ids_;
  std::vector<double> losses_;  // of rows
};

}  // namespace

absl::StatusOr<double> LossGradient(const ExecutionContext& context, const Transformer& model, const Head& head,
                                    const LossOptions& options, absl::Span<const int32_t> ids,
                                    MutableMatrixView hidden) {
  RETURN_IF_ERROR(CheckIds(options, ids, model.config().vocabulary_size));
  const int64_t predictions = static_cast<int64_t>(ids.size()) - 1;
  Matrix logits(std::min(kLossRows, predictions), model.config().vocabulary_size);
  LossRows rows(context, options, ids);
  double sum = 0;
  for (int64_t first = 0; first < predictions; first += kLossRows) {
    const int64_t count = std::min(kLossRows, predictions - first);
    const MutableMatrixView slab = hidden.Rows(first, count);
    const MutableMatrixView out = logits.view().Rows(0, count);
    model.Logits(context, head, slab, out);
    ASSIGN_OR_RETURN(const double loss, rows.Run(first, out));
    sum += loss;
    model.BackwardLogits(context, head, slab, out, slab);
  }
  for (float& value : hidden.row_span(predictions)) value = 0;
  return sum / static_cast<double>(predictions);
}

}  // namespace quantd
