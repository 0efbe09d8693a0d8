#include "core/model/sequence_loss.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/compute/vector_kernels.h"
#include "core/model/layer_ops.h"
#include "core/text/random.h"

namespace quantd {
namespace {

bool AllFinite(absl::Span<const float> values) {
  bool finite = true;
  for (const float value : values) finite &= std::abs(value) <= FLT_MAX;
  return finite;
}

// Uniform in [0, 1), of this seed, sequence and position alone.
double Draw(const LossOptions& options, int64_t position) {
  SplitMix64 of_seed(options.seed);
  SplitMix64 of_sequence(of_seed.Next() ^ static_cast<uint64_t>(options.sequence));
  SplitMix64 of_position(of_sequence.Next() ^ static_cast<uint64_t>(position));
  return static_cast<double>(of_position.Next() >> 11) * 0x1p-53;
}

// The first label at which the running sum of shares exceeds `u` times their sum.
int32_t Sample(absl::Span<const float> shares, double u) {
  double total = 0;
  for (const float share : shares) total += share;
  double sum = 0;
  size_t last = 0;  // with a share
  for (size_t label = 0; label < shares.size(); ++label) {
    if (shares[label] == 0) continue;
    sum += shares[label];
    last = label;
    if (sum > u * total) break;
  }
  return static_cast<int32_t>(last);
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
    const float maximum = *std::max_element(row.begin(), row.end());
    if (options_.labels == LabelSource::kData) {
      const int32_t label = ids_[position + 1];
      const double below = static_cast<double>(maximum) - row[label];
      kernels.softmax(row.data(), static_cast<int64_t>(row.size()));
      return Finish(row, label, below);
    }
    const std::vector<float> logits(row.begin(), row.end());
    kernels.softmax(row.data(), static_cast<int64_t>(row.size()));
    const int32_t label = Sample(row, Draw(options_, position));
    return Finish(row, label, static_cast<double>(maximum) - logits[label]);
  }

  // `below`: how far the label's logit is below the largest. The share of the largest is 1 / sum of exp(logit -
  // maximum), up to the rounding of that sum, which the sum of all shares in f64 tells.
  double Finish(absl::Span<float> shares, int32_t label, double below) const {
    double total = 0;
    for (const float share : shares) total += share;
    const double log_sum = std::log(total / *std::max_element(shares.begin(), shares.end()));
    const float scale = static_cast<float>(1.0 / static_cast<double>(ids_.size() - 1));
    shares[label] -= 1.0f;
    for (float& share : shares) share *= scale;
    return below + log_sum;
  }

  absl::Status NotFinite(int64_t position) const {
    return InvalidInput("LOSS_NOT_FINITE",
                        absl::StrFormat("sequence %d: the logits at position %d are not finite: the model overflows on "
                                        "this text, or its weights hold huge values",
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
  const int64_t predictions = static_cast<int64_t>(ids.size()) - 1;
  if (predictions < 1) {
    return InvalidInput("SEQUENCE_TOO_SHORT",
                        absl::StrFormat("sequence %d has %d tokens; a loss needs two", options.sequence, ids.size()));
  }
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
