// H = (2 / sequences) * sum over tokens of x x^T: the squared error of the layer's output, X W^T, as a quadratic form
// in a row of W (GPTQ, arXiv 2210.17323).
#include <cmath>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/quant/running_gram.h"
#include "core/quant/sensitivity_registry.h"

namespace quantd {
namespace {

constexpr char kSums[] = "sums";
constexpr char kSequences[] = "sequences";

class InputSensitivity : public Sensitivity {
 public:
  explicit InputSensitivity(const SitePlan& plan)
      : name_(plan.site.name), cols_(plan.site.cols), sums_(MakeRunningGram(plan.parameters, cols_)) {}

  bool needs_inputs() const override { return true; }
  bool shareable() const override { return true; }
  absl::Status AddInputs(const ExecutionContext& context, const MatrixView& inputs) override;
  absl::StatusOr<Matrix> Finish(const ExecutionContext& context) override;
  uint64_t memory_bytes() const override { return sums_->bytes(); }
  std::vector<StateTensor> SaveState() const override {
    return {sums_->Save(kSums), StateOf<int64_t>(kSequences, absl::MakeConstSpan(&sequences_, 1), {1})};
  }
  absl::Status LoadState(const StateTensors& saved) override {
    RETURN_IF_ERROR(sums_->Load(saved, kSums));
    return saved.Load(kSequences, absl::MakeSpan(&sequences_, 1));
  }

 private:
  absl::Status CheckInputs(const ExecutionContext& context, const MatrixView& inputs) const;

  const std::string name_;
  const int64_t cols_;
  int64_t sequences_ = 0;
  const std::unique_ptr<RunningGram> sums_;
};

// Index of the first value that is NaN or infinite, or -1.
int64_t FirstNotFinite(absl::Span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return static_cast<int64_t>(i);
  }
  return -1;
}

absl::Status InputSensitivity::CheckInputs(const ExecutionContext& context, const MatrixView& inputs) const {
  if (inputs.cols != cols_) {
    return InvalidInput(
        "INPUT_WIDTH_MISMATCH",
        absl::StrFormat("%s: calibration inputs have %d features, the layer has %d", name_, inputs.cols, cols_));
  }
  std::vector<int64_t> bad(inputs.rows, -1);
  context.pool().ParallelFor(inputs.rows, [&](int64_t token) { bad[token] = FirstNotFinite(inputs.row_span(token)); });
  for (int64_t token = 0; token < inputs.rows; ++token) {
    if (bad[token] < 0) continue;
    return InvalidInput(
        "NOT_FINITE_INPUT",
        absl::StrFormat("%s: calibration input is %g at token %d, feature %d; the model overflows on this text, or "
                        "an earlier layer was quantized too coarsely",
                        name_, inputs.at(token, bad[token]), token, bad[token]));
  }
  return absl::OkStatus();
}

absl::Status InputSensitivity::AddInputs(const ExecutionContext& context, const MatrixView& inputs) {
  RETURN_IF_ERROR(CheckInputs(context, inputs));
  if (inputs.rows == 0) return absl::OkStatus();
  sums_->Add(context, inputs);
  ++sequences_;
  return absl::OkStatus();
}

absl::StatusOr<Matrix> InputSensitivity::Finish(const ExecutionContext& context) {
  if (sequences_ == 0) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "SENSITIVITY_NO_DATA",
                       absl::StrFormat("%s: no calibration inputs reached this layer; give calibration text", name_));
  }
  Matrix hessian(cols_, cols_);
  AddTo(context, *sums_, 2.0 / static_cast<double>(sequences_), hessian);
  return hessian;
}

}  // namespace

std::unique_ptr<Sensitivity> MakeInputSensitivity(const SitePlan& plan) {
  return std::make_unique<InputSensitivity>(plan);
}

uint64_t InputSensitivityBytes(const SitePlan& plan) {
  return RunningGramBytes(plan.parameters, plan.site.cols);
}

}  // namespace quantd
