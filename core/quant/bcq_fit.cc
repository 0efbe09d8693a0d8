#include "core/quant/bcq_fit.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace quantd {
namespace {

// Of the conjugate gradients, as released.
constexpr double kDenominatorOffset = 1e-6;

int8_t SignOf(double value) {
  return static_cast<int8_t>(value > 0 ? 1 : value < 0 ? -1 : 0);
}

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// matrix [n, n] times x.
std::vector<double> Times(const std::vector<double>& matrix, const std::vector<double>& x) {
  const size_t n = x.size();
  std::vector<double> product(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) product[i] += matrix[i * n + j] * x[j];
  }
  return product;
}

void AddScaled(double factor, const std::vector<double>& x, std::vector<double>& sum) {
  for (size_t i = 0; i < x.size(); ++i) sum[i] += factor * x[i];
}

// As many steps as unknowns, from x on.
std::vector<double> ConjugateGradients(const std::vector<double>& matrix, const std::vector<double>& target,
                                       std::vector<double> x) {
  std::vector<double> residual = target;
  AddScaled(-1, Times(matrix, x), residual);
  std::vector<double> direction = residual;
  double square = Dot(residual, residual);
  for (size_t step = 0; step < x.size(); ++step) {
    const std::vector<double> image = Times(matrix, direction);
    const double length = square / (Dot(direction, image) + kDenominatorOffset);
    AddScaled(length, direction, x);
    AddScaled(-length, image, residual);
    const double next_square = Dot(residual, residual);
    const double turn = next_square / (square + kDenominatorOffset);
    for (size_t i = 0; i < direction.size(); ++i) direction[i] = residual[i] + turn * direction[i];
    square = next_square;
  }
  return x;
}

class Fitter {
 public:
  Fitter(absl::Span<const double> weights, absl::Span<const double> costs, const BcqFitOptions& options)
      : weights_(weights),
        costs_(costs.begin(), costs.end()),
        options_(options),
        fit_{std::vector<double>(options.planes), std::vector<int8_t>(options.planes * weights.size())} {
    if (costs_.empty()) costs_.assign(weights.size(), 1.0);
  }

  BcqFit Run() && {
    FitGreedily();
    // One plane is exact already.
    for (int round = 0; options_.planes > 1 && round < options_.rounds; ++round) {
      SolveAlphas();
      options_.greedy_codes ? TakeResidualSigns() : TakeNearestSums();
    }
    return std::move(fit_);
  }

 private:
  int8_t* plane(int i) { return fit_.signs.data() + static_cast<size_t>(i) * weights_.size(); }

  double MeanMagnitude(const std::vector<double>& residual) const {
    double sum = 0;
    double total = 0;
    for (size_t k = 0; k < residual.size(); ++k) {
      sum += costs_[k] * std::abs(residual[k]);
      total += costs_[k];
    }
    return total > 0 ? sum / total : 0;
  }

  void SubtractPlane(int i, std::vector<double>& residual) {
    for (size_t k = 0; k < residual.size(); ++k) residual[k] -= plane(i)[k] * fit_.alphas[i];
  }

  void FitGreedily() {
    std::vector<double> residual(weights_.begin(), weights_.end());
    for (int i = 0; i < options_.planes; ++i) {
      for (size_t k = 0; k < residual.size(); ++k) plane(i)[k] = SignOf(residual[k]);
      fit_.alphas[i] = MeanMagnitude(residual);
      SubtractPlane(i, residual);
    }
  }

  void SolveAlphas() {
    const int planes = options_.planes;
    std::vector<double> matrix(static_cast<size_t>(planes) * planes);
    std::vector<double> target(planes);
    for (int i = 0; i < planes; ++i) {
      for (size_t k = 0; k < weights_.size(); ++k) {
        target[i] += costs_[k] * plane(i)[k] * weights_[k];
        for (int j = 0; j < planes; ++j) matrix[i * planes + j] += costs_[k] * plane(i)[k] * plane(j)[k];
      }
    }
    fit_.alphas = ConjugateGradients(matrix, target, fit_.alphas);
    for (double& alpha : fit_.alphas) alpha = std::abs(alpha);
    std::sort(fit_.alphas.begin(), fit_.alphas.end(), std::greater<>());
  }

  void TakeResidualSigns() {
    std::vector<double> residual(weights_.begin(), weights_.end());
    for (int i = 0; i < options_.planes; ++i) {
      for (size_t k = 0; k < residual.size(); ++k) plane(i)[k] = SignOf(residual[k]);
      SubtractPlane(i, residual);
    }
  }

  struct Sum {
    double value = 0;
    int pattern = 0;  // bit i: +alpha_i
  };

  // Equal sums (planes of alpha 0): those with fewer minus signs first, as in the released code.
  std::vector<Sum> SortedSums() const {
    std::vector<Sum> sums(size_t{1} << options_.planes);
    for (size_t k = 0; k < sums.size(); ++k) {
      sums[k].pattern = static_cast<int>(sums.size() - 1 - k);
      for (int i = 0; i < options_.planes; ++i) {
        sums[k].value += (sums[k].pattern >> i & 1) != 0 ? fit_.alphas[i] : -fit_.alphas[i];
      }
    }
    std::stable_sort(sums.begin(), sums.end(), [](const Sum& a, const Sum& b) { return a.value < b.value; });
    return sums;
  }

  // Half way between two sums: to the upper one.
  void TakeNearestSums() {
    const std::vector<Sum> sums = SortedSums();
    std::vector<double> borders;
    for (size_t s = 1; s < sums.size(); ++s) borders.push_back((sums[s - 1].value + sums[s].value) / 2);
    for (size_t k = 0; k < weights_.size(); ++k) {
      const auto above = std::upper_bound(borders.begin(), borders.end(), weights_[k]);
      const int pattern = sums[above - borders.begin()].pattern;
      for (int i = 0; i < options_.planes; ++i) {
        plane(i)[k] = static_cast<int8_t>(costs_[k] == 0 ? 0 : (pattern >> i & 1) ? 1 : -1);
      }
    }
  }

  const absl::Span<const double> weights_;
  std::vector<double> costs_;
  const BcqFitOptions options_;
  BcqFit fit_;
};

}  // namespace

BcqFit FitBcq(absl::Span<const double> weights, absl::Span<const double> costs, const BcqFitOptions& options) {
  return Fitter(weights, costs, options).Run();
}

}  // namespace quantd
