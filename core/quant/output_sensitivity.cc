// What an error in a weight costs the model's own loss. With a sequence's inputs X [tokens, in] and the gradient of its
// loss at the layer's output D [tokens, out], the weight's gradient is G = D^T X, and
//
//   fisher = sequence   H = sum over sequences of G^T G                          (OAC's output-adaptive Hessian)
//   fisher = token      H = sum over tokens of |D_t|^2 x_t x_t^T                 (the same in expectation when the
//                                                                                 gradients of tokens are uncorrelated)
//
// scaled to a mean diagonal of 1, and drawn towards the inputs' X^T X, scaled likewise, by `shrinkage`.
//
// With gradient_precision = bf16 the entries of X and D are rounded to it first; products are summed in f32 as always.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/compute/matmul.h"
#include "core/quant/parameter_table.h"
#include "core/quant/running_gram.h"
#include "core/quant/sensitivity_registry.h"
#include "core/tensor/dtype.h"

namespace quantd {
namespace {

constexpr char kGradientSums[] = "gradient_sums";
constexpr char kInputSums[] = "input_sums";
constexpr char kCounts[] = "counts";
constexpr char kPrecisionDifference[] = "precision_difference";

// Norm of each row; NaN or infinity when something in it is.
std::vector<double> RowNorms(const ExecutionContext& context, const MatrixView& matrix) {
  std::vector<double> norms(static_cast<size_t>(matrix.rows));
  context.pool().ParallelFor(matrix.rows, [&](int64_t row) {
    double sum = 0;
    for (const float value : matrix.row_span(row)) sum += static_cast<double>(value) * static_cast<double>(value);
    norms[row] = std::sqrt(sum);
  });
  return norms;
}

// Rows times numbers.
Matrix ScaledRows(const ExecutionContext& context, const MatrixView& matrix, const std::vector<double>& factors) {
  Matrix scaled(matrix.rows, matrix.cols);
  context.pool().ParallelFor(matrix.rows, [&](int64_t row) {
    const auto factor = static_cast<float>(factors[row]);
    for (int64_t col = 0; col < matrix.cols; ++col) scaled.at(row, col) = factor * matrix.at(row, col);
  });
  return scaled;
}

// Each entry rounded to bf16, to nearest even.
Matrix RoundedToBf16(const ExecutionContext& context, const MatrixView& matrix) {
  Matrix rounded(matrix.rows, matrix.cols);
  context.pool().ParallelFor(matrix.rows, [&](int64_t row) {
    for (int64_t col = 0; col < matrix.cols; ++col) rounded.at(row, col) = Bf16ToF32(F32ToBf16(matrix.at(row, col)));
  });
  return rounded;
}

// ||a - b|| / ||b|| in the Frobenius norm.
double RelativeDifference(const ExecutionContext& context, const RunningGram& a, const RunningGram& b, int64_t n) {
  std::vector<double> differences(static_cast<size_t>(n)), squares(static_cast<size_t>(n));
  context.pool().ParallelFor(n, [&](int64_t row) {
    for (int64_t col = row; col < n; ++col) {
      const double weight = col == row ? 1 : 2, other = b.At(row, col), difference = a.At(row, col) - other;
      differences[row] += weight * difference * difference;
      squares[row] += weight * other * other;
    }
  });
  const double norm = std::accumulate(squares.begin(), squares.end(), 0.0);
  return norm > 0 ? std::sqrt(std::accumulate(differences.begin(), differences.end(), 0.0) / norm) : 0;
}

class OutputSensitivity : public Sensitivity {
 public:
  explicit OutputSensitivity(const SitePlan& plan)
      : name_(plan.site.name),
        cols_(plan.site.cols),
        parameters_(plan.parameters),
        by_token_(plan.parameters.Text("fisher") == "token"),
        in_bf16_(plan.parameters.Text("gradient_precision") == "bf16"),
        shrinkage_(plan.parameters.Double("shrinkage")),
        gradient_sums_(MakeRunningGram(plan.parameters, cols_)) {
    if (shrinkage_ > 0) input_sums_ = MakeRunningGram(plan.parameters, cols_);
  }

  bool needs_inputs() const override { return false; }
  bool needs_gradients() const override { return true; }
  // q, k and v have the same inputs, not the same gradients.
  bool shareable() const override { return false; }
  absl::Status AddInputs(const ExecutionContext& /*context*/, const MatrixView& /*inputs*/) override {
    return absl::OkStatus();
  }
  absl::Status AddGradients(const ExecutionContext& context, const MatrixView& inputs,
                            const MatrixView& gradients) override;
  absl::StatusOr<Matrix> Finish(const ExecutionContext& context) override;
  uint64_t memory_bytes() const override {
    return gradient_sums_->bytes() + (input_sums_ == nullptr ? 0 : input_sums_->bytes());
  }
  std::optional<double> precision_difference() const override {
    return in_bf16_ ? std::optional<double>(precision_difference_) : std::nullopt;
  }
  std::vector<StateTensor> SaveState() const override;
  absl::Status LoadState(const StateTensors& saved) override;

 private:
  enum Count { kSequences, kExponent, kCountsSize };

  absl::Status CheckFinite(absl::string_view reason, absl::string_view what, const std::vector<double>& norms) const;
  void ChooseScale(const std::vector<double>& norms);
  void AddInBf16(const ExecutionContext& context, const MatrixView& inputs, const MatrixView& gradients, bool first);
  void Add(const ExecutionContext& context, const MatrixView& inputs, const MatrixView& gradients,
           RunningGram& sums) const;
  void AddSequence(const ExecutionContext& context, const MatrixView& inputs, const Matrix& gradients,
                   RunningGram& sums) const;

  const std::string name_;
  const int64_t cols_;
  const Parameters parameters_;
  const bool by_token_;
  const bool in_bf16_;
  const double shrinkage_;
  const std::unique_ptr<RunningGram> gradient_sums_;
  std::unique_ptr<RunningGram> input_sums_;  // null without shrinkage
  // Gradients are multiplied by 2^exponent, which brings those of the first sequence that has any near 1: squares of
  // gradients of a mean over many tokens would leave the range of f32. A power of two changes no digit.
  static constexpr int64_t kNoExponent = INT32_MAX;
  int64_t counts_[kCountsSize] = {0, kNoExponent};
  double precision_difference_ = 0;  // in_bf16_: on the first sequence with a gradient
};

absl::Status OutputSensitivity::CheckFinite(absl::string_view reason, absl::string_view what,
                                            const std::vector<double>& norms) const {
  for (size_t token = 0; token < norms.size(); ++token) {
    if (std::isfinite(norms[token])) continue;
    return InvalidInput(reason, absl::StrFormat("%s: the %s of token %d is not finite; the model overflows on this "
                                                "text, or an earlier layer was quantized too coarsely",
                                                name_, what, token));
  }
  return absl::OkStatus();
}

void OutputSensitivity::ChooseScale(const std::vector<double>& norms) {
  const double largest = *std::max_element(norms.begin(), norms.end());
  if (counts_[kExponent] == kNoExponent && largest > 0) counts_[kExponent] = -std::ilogb(largest);
}

absl::Status OutputSensitivity::AddGradients(const ExecutionContext& context, const MatrixView& inputs,
                                             const MatrixView& gradients) {
  if (inputs.rows == 0) return absl::OkStatus();
  std::vector<double> norms = RowNorms(context, gradients);
  RETURN_IF_ERROR(CheckFinite("NOT_FINITE_INPUT", "calibration input", RowNorms(context, inputs)));
  RETURN_IF_ERROR(CheckFinite("NOT_FINITE_GRADIENT", "gradient", norms));
  ++counts_[kSequences];
  if (input_sums_ != nullptr) input_sums_->Add(context, inputs);
  const bool first = counts_[kExponent] == kNoExponent;
  ChooseScale(norms);
  if (counts_[kExponent] == kNoExponent) return absl::OkStatus();
  if (in_bf16_) {
    AddInBf16(context, inputs, gradients, first);
  } else {
    Add(context, inputs, gradients, *gradient_sums_);
  }
  return absl::OkStatus();
}

// The first sequence is computed both ways; of the sums, only the rounded ones are kept.
void OutputSensitivity::AddInBf16(const ExecutionContext& context, const MatrixView& inputs,
                                  const MatrixView& gradients, bool first) {
  Add(context, RoundedToBf16(context, inputs).view(), RoundedToBf16(context, gradients).view(), *gradient_sums_);
  if (!first) return;
  const std::unique_ptr<RunningGram> exact = MakeRunningGram(parameters_, cols_);
  Add(context, inputs, gradients, *exact);
  precision_difference_ = RelativeDifference(context, *gradient_sums_, *exact, cols_);
}

void OutputSensitivity::Add(const ExecutionContext& context, const MatrixView& inputs, const MatrixView& gradients,
                            RunningGram& sums) const {
  const double scale = std::ldexp(1.0, static_cast<int>(counts_[kExponent]));
  if (!by_token_) {
    const std::vector<double> scales(static_cast<size_t>(gradients.rows), scale);
    return AddSequence(context, inputs, ScaledRows(context, gradients, scales), sums);
  }
  std::vector<double> norms = RowNorms(context, gradients);
  for (double& norm : norms) norm *= scale;
  sums.Add(context, ScaledRows(context, inputs, norms).view());
}

// G^T G by way of G [out, in], or as X^T (D D^T) X by way of the tokens' Gram matrix: whichever multiplies less.
void OutputSensitivity::AddSequence(const ExecutionContext& context, const MatrixView& inputs, const Matrix& gradients,
                                    RunningGram& sums) const {
  const double tokens = static_cast<double>(inputs.rows);
  const double rows = static_cast<double>(gradients.cols()), cols = static_cast<double>(cols_);
  const double by_weight = tokens * rows * cols + rows * cols * cols / 2;
  const double by_tokens = tokens * tokens * (rows + cols) + tokens * cols * cols;
  if (by_weight <= by_tokens) {
    Matrix weight_gradient(gradients.cols(), cols_);
    MatMulLeftTransposed(context, gradients.view(), inputs, weight_gradient.view());
    sums.Add(context, weight_gradient.view());
    return;
  }
  Matrix between(inputs.rows, inputs.rows), weighted(inputs.rows, cols_), product(cols_, cols_);
  MatMulTransposed(context, gradients.view(), gradients.view(), between.view());
  MatMul(context, between.view(), inputs, weighted.view());
  MatMulLeftTransposed(context, inputs, weighted.view(), product.view());
  sums.AddMatrix(context, product.view());
}

absl::StatusOr<Matrix> OutputSensitivity::Finish(const ExecutionContext& context) {
  if (counts_[kSequences] == 0) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "SENSITIVITY_NO_DATA",
                       absl::StrFormat("%s: no calibration data reached this layer; give calibration text", name_));
  }
  const double mean = MeanDiagonal(*gradient_sums_, cols_);
  // Nothing that this layer does changes the loss of these sequences: every error costs the same.
  if (!(mean > 0)) return Matrix();
  Matrix hessian(cols_, cols_);
  AddTo(context, *gradient_sums_, (1 - shrinkage_) / mean, hessian);
  if (input_sums_ == nullptr) return hessian;
  const double input_mean = MeanDiagonal(*input_sums_, cols_);
  if (input_mean > 0) AddTo(context, *input_sums_, shrinkage_ / input_mean, hessian);
  return hessian;
}

std::vector<StateTensor> OutputSensitivity::SaveState() const {
  std::vector<StateTensor> tensors = {gradient_sums_->Save(kGradientSums),
                                      StateOf<int64_t>(kCounts, absl::MakeConstSpan(counts_), {kCountsSize})};
  if (input_sums_ != nullptr) tensors.push_back(input_sums_->Save(kInputSums));
  if (in_bf16_) {
    tensors.push_back(StateOf<double>(kPrecisionDifference, absl::MakeConstSpan(&precision_difference_, 1), {1}));
  }
  return tensors;
}

absl::Status OutputSensitivity::LoadState(const StateTensors& saved) {
  RETURN_IF_ERROR(gradient_sums_->Load(saved, kGradientSums));
  if (input_sums_ != nullptr) RETURN_IF_ERROR(input_sums_->Load(saved, kInputSums));
  if (in_bf16_) RETURN_IF_ERROR(saved.Load(kPrecisionDifference, absl::MakeSpan(&precision_difference_, 1)));
  RETURN_IF_ERROR(saved.Load(kCounts, absl::MakeSpan(counts_)));
  const int64_t exponent = counts_[kExponent];
  if (counts_[kSequences] >= 0 && (exponent == kNoExponent || std::abs(exponent) < 2000)) return absl::OkStatus();
  return InvalidInput("CHECKPOINT_MALFORMED", absl::StrFormat("%s: the saved sums have no such scale", name_));
}

}  // namespace

std::vector<ParameterInfo> OutputSensitivityRows() {
  return {
      {"hessian_model",
       ParameterType::kChoice,
       "boundary",
       0,
       0,
       {"boundary", "full", "prefix"},
       "",
       "model whose gradients are taken: full: the original; boundary: each block behind the quantized ones before it, "
       "with the original's gradient at its output; prefix: the original behind the quantized blocks, anew for every "
       "block"},
      {"fisher",
       ParameterType::kChoice,
       "token",
       0,
       0,
       {"token", "sequence"},
       "",
       "whose gradients are squared: a token's, or the sum over a sequence"},
      {"labels",
       ParameterType::kChoice,
       "data",
       0,
       0,
       {"data", "sampled"},
       "",
       "next tokens of the loss: those of the text, or drawn from the model's own distribution"},
      {"gradient_precision",
       ParameterType::kChoice,
       "f32",
       0,
       0,
       {"f32", "bf16"},
       "",
       "what inputs and gradients are rounded to before they are multiplied; sums are in f32. With bf16 the report has "
       "the difference that it makes"},
      {"shrinkage", ParameterType::kFloat, "0", 0, 1, {}, "", "share of the inputs' second moments in the sensitivity"},
  };
}

std::unique_ptr<Sensitivity> MakeOutputSensitivity(const SitePlan& plan) {
  return std::make_unique<OutputSensitivity>(plan);
}

uint64_t OutputSensitivityBytes(const SitePlan& plan) {
  return RunningGramBytes(plan.parameters, plan.site.cols) * (plan.parameters.Double("shrinkage") > 0 ? 2 : 1);
}

}  // namespace quantd
