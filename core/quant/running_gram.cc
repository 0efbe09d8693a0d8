#include "core/quant/running_gram.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/compute/gram.h"
#include "core/compute/matmul.h"

namespace quantd {
namespace {

class RunningGramF64 : public RunningGram {
 public:
  explicit RunningGramF64(int64_t n) : n_(n), sums_(static_cast<size_t>(n * n)) {}
  void Add(const ExecutionContext& context, const MatrixView& rows) override {
    AccumulateGram(context, rows, sums_.data());
  }
  void AddMatrix(const ExecutionContext& context, const MatrixView& matrix) override {
    context.pool().ParallelFor(n_, [&](int64_t row) {
      for (int64_t col = row; col < n_; ++col) sums_[row * n_ + col] += static_cast<double>(matrix.at(row, col));
    });
  }
  double At(int64_t row, int64_t col) const override { return sums_[row * n_ + col]; }
  uint64_t bytes() const override { return sums_.size() * sizeof(double); }
  StateTensor Save(std::string name) const override { return StateOf<double>(std::move(name), sums_, {n_, n_}); }
  absl::Status Load(const StateTensors& saved, absl::string_view name) override {
    return saved.Load(name, absl::MakeSpan(sums_));
  }

 private:
  const int64_t n_;
  std::vector<double> sums_;
};

class RunningGramF32 : public RunningGram {
 public:
  explicit RunningGramF32(int64_t n) : sums_(n, n) {}
  void Add(const ExecutionContext& context, const MatrixView& rows) override { SyrkUpper(context, rows, sums_.view()); }
  void AddMatrix(const ExecutionContext& context, const MatrixView& matrix) override {
    context.pool().ParallelFor(sums_.rows(), [&](int64_t row) {
      for (int64_t col = row; col < sums_.cols(); ++col) sums_.at(row, col) += matrix.at(row, col);
    });
  }
  double At(int64_t row, int64_t col) const override { return static_cast<double>(sums_.at(row, col)); }
  uint64_t bytes() const override { return static_cast<uint64_t>(sums_.size()) * sizeof(float); }
  StateTensor Save(std::string name) const override {
    return StateOf<float>(std::move(name), sums_.span(), {sums_.rows(), sums_.cols()});
  }
  absl::Status Load(const StateTensors& saved, absl::string_view name) override {
    return saved.Load(name, sums_.span());
  }

 private:
  Matrix sums_;
};

}  // namespace

std::unique_ptr<RunningGram> MakeRunningGram(const Parameters& parameters, int64_t n) {
  if (parameters.Text("sensitivity_accumulation") == "f32") return std::make_unique<RunningGramF32>(n);
  return std::make_unique<RunningGramF64>(n);
}

uint64_t RunningGramBytes(const Parameters& parameters, int64_t n) {
  const bool narrow = parameters.Text("sensitivity_accumulation") == "f32";
  return static_cast<uint64_t>(n) * static_cast<uint64_t>(n) * (narrow ? sizeof(float) : sizeof(double));
}

double MeanDiagonal(const RunningGram& gram, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += gram.At(i, i);
  return sum / static_cast<double>(n);
}

void AddTo(const ExecutionContext& context, const RunningGram& gram, double factor, Matrix& hessian) {
  context.pool().ParallelFor(hessian.rows(), [&](int64_t row) {
    for (int64_t col = 0; col < hessian.cols(); ++col) {
      hessian.at(row, col) += static_cast<float>(factor * gram.At(std::min(row, col), std::max(row, col)));
    }
  });
}

}  // namespace quantd
