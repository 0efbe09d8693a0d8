// Causal attention against its formula in f64.
#include "core/compute/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/compute/matvec.h"
#include "tests/core/compute/rounding_bounds.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

struct Case {
  const char* name;
  int64_t tokens;
  int64_t heads, kv_heads, head_size;
  int64_t first_position = 0;
  int64_t window = 0;
  bool slopes = false;
};

// Around the tile of 64 queries and the 4 rows up to which products go row by row.
constexpr Case kCases[] = {
    {"OneToken", 1, 2, 1, 5},
    {"FewRows", 4, 3, 3, 7},
    {"OneMoreThanFew", 5, 4, 2, 16},
    {"OneTile", 64, 2, 2, 8},
    {"OneMoreThanATile", 65, 4, 1, 9},
    {"ThreeTiles", 133, 3, 1, 12},
    {"NextToken", 1, 4, 2, 16, 70},
    {"NextTokens", 3, 2, 1, 5, 129},
    {"NextTiles", 100, 2, 2, 6, 37},
    {"WindowOfOne", 70, 2, 1, 8, 0, 1},
    {"OddWindow", 133, 2, 1, 8, 0, 7},
    {"WindowAboveATile", 200, 2, 2, 8, 0, 70},
    {"WindowAcrossTheCache", 2, 2, 1, 8, 150, 31},
    {"Slopes", 75, 3, 3, 8, 0, 0, true},
    {"SlopesInTheCache", 1, 3, 1, 8, 90, 0, true},
    {"SlopesAndWindow", 90, 2, 2, 8, 10, 33, true},
};

constexpr float kSlopes[] = {0.5f, 0.0625f, 0.25f};
constexpr double kSecondOrder = 1 + 1e-3;

class AttentionTest : public testing::TestWithParam<Case> {
 protected:
  AttentionTest() {
    options_ = {.heads = case_.heads,
                .kv_heads = case_.kv_heads,
                .head_size = case_.head_size,
                .scale = 1 / std::sqrt(static_cast<float>(case_.head_size)),
                .first_position = case_.first_position,
                .window = case_.window,
                .slopes = {}};
    if (case_.slopes) options_.slopes = absl::MakeConstSpan(kSlopes).first(case_.heads);
    // A cache is longer than what was written: nothing behind the last position may be read.
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (Matrix* matrix : {&keys_, &values_}) {
      for (int64_t t = positions_; t < matrix->rows(); ++t) {
        for (int64_t c = 0; c < matrix->cols(); ++c) matrix->at(t, c) = nan;
      }
    }
  }

  Matrix Run(int threads = 2) const {
    const auto context = ExecutionContext::Create({.threads = threads}).value();
    Matrix out(case_.tokens, case_.heads * case_.head_size);
    for (float& value : out.span()) value = std::numeric_limits<float>::quiet_NaN();
    CausalAttention(*context, options_, queries_.view(), keys_.view(), values_.view(), out.view());
    return out;
  }

  void CheckRow(const Matrix& out, int64_t head, int64_t row, WorstShare& share) const;

  const Case case_ = GetParam();
  const int64_t positions_ = case_.first_position + case_.tokens;
  const Matrix queries_ = RandomMatrix(case_.tokens, case_.heads* case_.head_size, 1, 3);
  Matrix keys_ = RandomMatrix(positions_ + 5, case_.kv_heads* case_.head_size, 2, 3);
  Matrix values_ = RandomMatrix(positions_ + 5, case_.kv_heads* case_.head_size, 3);
  AttentionOptions options_;
};

// A score is off by at most E: its product's rounding, the scale's, and two for the slope. Every weight is then off by
// a factor of exp(2 E), by what softmax costs (vector_kernels_test.cc: its largest difference, ln n, lanes, twice exp)
// and by what summing n terms of the mixture costs.
void AttentionTest::CheckRow(const Matrix& out, int64_t head, int64_t row, WorstShare& share) const {
  const int64_t position = case_.first_position + row;
  const int64_t first = case_.window > 0 ? std::max<int64_t>(0, position - case_.window + 1) : 0;
  const int64_t query_column = head * case_.head_size;
  const int64_t kv_column = head / (case_.heads / case_.kv_heads) * case_.head_size;
  std::vector<double> scores;
  double score_error = 0, highest = -INFINITY, lowest = INFINITY;
  for (int64_t j = first; j <= position; ++j) {
    Exact product;
    for (int64_t c = 0; c < case_.head_size; ++c) {
      product.Add(queries_.at(row, query_column + c), keys_.at(j, kv_column + c));
    }
    const double bias = case_.slopes ? double{kSlopes[head]} * static_cast<double>(j) : 0;
    scores.push_back(options_.scale * product.value + bias);
    const double error =
        Gamma(LaneRoundings(case_.head_size) + case_.head_size + 1) * options_.scale * product.magnitude;
    score_error = std::max(score_error, error + kUnit * (bias + std::abs(scores.back())));
    highest = std::max(highest, scores.back());
    lowest = std::min(lowest, scores.back());
  }
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - highest);
  const double n = static_cast<double>(scores.size());
  const double relative = 2 * score_error + (highest - lowest + std::log(n) + 20 + n / 32) * kUnit + Gamma(positions_);
  for (int64_t c = 0; c < case_.head_size; ++c) {
    Exact mixed;
    for (size_t j = 0; j < scores.size(); ++j) {
      mixed.Add(scores[j] / sum, values_.at(first + static_cast<int64_t>(j), kv_column + c));
    }
    share.Check(out.at(row, query_column + c), mixed.value, relative * mixed.magnitude * kSecondOrder);
  }
}

TEST_P(AttentionTest, IsThatOfF64) {
  const Matrix out = Run();
  WorstShare share;
  for (int64_t head = 0; head < case_.heads; ++head) {
    for (int64_t row = 0; row < case_.tokens; ++row) CheckRow(out, head, row, share);
  }
  EXPECT_TRUE(case_.window == 1 || positions_ == 1 || share.worst() > 0.005) << share.worst();
}

TEST_P(AttentionTest, HasTheSameBitsForAnyNumberOfThreads) {
  const Matrix one = Run(1);
  for (int threads : {2, 5}) {
    const Matrix more = Run(threads);
    EXPECT_EQ(std::memcmp(one.data(), more.data(), static_cast<size_t>(one.size()) * sizeof(float)), 0) << threads;
  }
}

TEST_P(AttentionTest, RowsDoNotFeelWhatComesAfterThem) {
  const Matrix before = Run();
  const int64_t last = positions_ - 1;
  for (int64_t c = 0; c < keys_.cols(); ++c) {
    keys_.at(last, c) += 2;
    values_.at(last, c) -= 3;
  }
  const Matrix after = Run();
  const size_t width = static_cast<size_t>(before.cols()) * sizeof(float);
  for (int64_t row = 0; row + 1 < case_.tokens; ++row) {
    EXPECT_EQ(std::memcmp(before.row(row), after.row(row), width), 0) << row;
  }
  EXPECT_NE(std::memcmp(before.row(case_.tokens - 1), after.row(case_.tokens - 1), width), 0);
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionTest, testing::ValuesIn(kCases),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace quantd
