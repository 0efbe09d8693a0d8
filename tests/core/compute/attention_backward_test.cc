// The backward pass of causal attention against its formula in f64, and the formula against finite differences.
#include "core/compute/attention_backward.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/core/compute/rounding_bounds.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

struct Case {
  const char* name;
  int64_t tokens;
  int64_t heads, kv_heads, head_size;
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
    {"WindowOfOne", 70, 2, 1, 8, 1},
    {"OddWindow", 133, 2, 1, 8, 7},
    {"WindowAboveATile", 200, 2, 2, 8, 70},
    {"Slopes", 75, 3, 3, 8, 0, true},
    {"SlopesAndWindow", 90, 2, 2, 8, 33, true},
};

constexpr float kSlopes[] = {0.5f, 0.0625f, 0.25f};
constexpr double kSecondOrder = 1 + 1e-3;

// A value with a bound on what f32 makes of it.
struct Bounded {
  double value = 0;
  double error = 0;
  double magnitude = 0;  // of a sum: of its terms
  // += a b, each off by its error.
  void Add(const Bounded& a, const Bounded& b) {
    value += a.value * b.value;
    error += a.error * std::abs(b.value) + b.error * std::abs(a.value);
    magnitude += std::abs(a.value * b.value);
  }
  void Scale(double factor) {
    value *= factor;
    error *= factor;
    magnitude *= factor;
  }
  // After the last Add: the sum itself went through so many roundings.
  void Round(int64_t roundings) { error += Gamma(roundings) * magnitude; }
};
using Grid = std::vector<std::vector<Bounded>>;

Grid Zeros(int64_t rows, int64_t cols) {
  return Grid(static_cast<size_t>(rows), std::vector<Bounded>(static_cast<size_t>(cols)));
}

struct Gradients {
  Grid queries, keys, values;
};

class AttentionBackwardTest : public testing::TestWithParam<Case> {
 protected:
  AttentionBackwardTest() {
    options_ = {.heads = case_.heads,
                .kv_heads = case_.kv_heads,
                .head_size = case_.head_size,
                .scale = 1 / std::sqrt(static_cast<float>(case_.head_size)),
                .window = case_.window,
                .slopes = {}};
    if (case_.slopes) options_.slopes = absl::MakeConstSpan(kSlopes).first(case_.heads);
  }

  struct Results {
    Matrix queries, keys, values;
  };
  Results Run(int threads = 2) const {
    const auto context = ExecutionContext::Create({.threads = threads}).value();
    Results got{Matrix(case_.tokens, queries_.cols()), Matrix(case_.tokens, keys_.cols()),
                Matrix(case_.tokens, keys_.cols())};
    for (Matrix* matrix : {&got.queries, &got.keys, &got.values}) {
      for (float& value : matrix->span()) value = std::numeric_limits<float>::quiet_NaN();
    }
    CausalAttentionBackward(*context, options_, {queries_.view(), keys_.view(), values_.view()}, out_gradient_.view(),
                            {got.queries.view(), got.keys.view(), got.values.view()});
    return got;
  }

  int64_t First(int64_t i) const { return case_.window > 0 ? std::max<int64_t>(0, i - case_.window + 1) : 0; }
  std::vector<Bounded> Weights(int64_t head, int64_t i) const;
  Gradients Formula() const;
  void AddRow(int64_t head, int64_t i, Gradients& sums) const;
  double Objective() const;

  const Case case_ = GetParam();
  Matrix queries_ = RandomMatrix(case_.tokens, case_.heads* case_.head_size, 1, 2);
  Matrix keys_ = RandomMatrix(case_.tokens, case_.kv_heads* case_.head_size, 2, 2);
  Matrix values_ = RandomMatrix(case_.tokens, case_.kv_heads* case_.head_size, 3);
  const Matrix out_gradient_ = RandomMatrix(case_.tokens, case_.heads* case_.head_size, 4);
  AttentionOptions options_;
};

// Those of query i over the keys from First(i) on; their errors as in attention_test.cc.
std::vector<Bounded> AttentionBackwardTest::Weights(int64_t head, int64_t i) const {
  const int64_t query_column = head * case_.head_size;
  const int64_t kv_column = head / (case_.heads / case_.kv_heads) * case_.head_size;
  std::vector<Bounded> weights;
  double score_error = 0, highest = -INFINITY, lowest = INFINITY;
  for (int64_t j = First(i); j <= i; ++j) {
    Exact product;
    for (int64_t c = 0; c < case_.head_size; ++c) {
      product.Add(queries_.at(i, query_column + c), keys_.at(j, kv_column + c));
    }
    const double bias = case_.slopes ? double{kSlopes[head]} * static_cast<double>(j) : 0;
    const double score = options_.scale * product.value + bias;
    weights.push_back({score});
    const double error =
        Gamma(LaneRoundings(case_.head_size) + case_.head_size + 1) * options_.scale * product.magnitude;
    score_error = std::max(score_error, error + kUnit * (bias + std::abs(score)));
    highest = std::max(highest, score);
    lowest = std::min(lowest, score);
  }
  double sum = 0;
  for (Bounded& weight : weights) sum += weight.value = std::exp(weight.value - highest);
  const double n = static_cast<double>(weights.size());
  const double relative = 2 * score_error + (highest - lowest + std::log(n) + 20 + n / 32) * kUnit;
  for (Bounded& weight : weights) {
    weight.value /= sum;
    weight.error = relative * weight.value;
  }
  return weights;
}

// What query i of one head adds. The roundings of sums over queries are counted at their end.
void AttentionBackwardTest::AddRow(int64_t head, int64_t i, Gradients& sums) const {
  const int64_t size = case_.head_size;
  const int64_t query_column = head * size;
  const int64_t kv_column = head / (case_.heads / case_.kv_heads) * size;
  const std::vector<Bounded> weights = Weights(head, i);
  const int64_t first = First(i);
  const int64_t count = static_cast<int64_t>(weights.size());
  std::vector<Bounded> felt(weights.size());  // dL/d(weight)
  Bounded mean;
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t c = 0; c < size; ++c) {
      felt[j].Add({out_gradient_.at(i, query_column + c)}, {values_.at(first + j, kv_column + c)});
      sums.values[first + j][kv_column + c].Add(weights[j], {out_gradient_.at(i, query_column + c)});
    }
    felt[j].Round(size);
    mean.Add(weights[j], felt[j]);
  }
  mean.Round(LaneRoundings(case_.tokens));
  for (int64_t j = 0; j < count; ++j) {
    const Bounded difference = {felt[j].value - mean.value,
                                felt[j].error + mean.error + kUnit * (std::abs(felt[j].value) + std::abs(mean.value))};
    Bounded score;
    score.Add(weights[j], difference);
    score.Round(2);  // the product, and the scale in a sum
    score.Scale(options_.scale);
    for (int64_t c = 0; c < size; ++c) {
      sums.queries[i][query_column + c].Add(score, {keys_.at(first + j, kv_column + c)});
      sums.keys[first + j][kv_column + c].Add(score, {queries_.at(i, query_column + c)});
    }
  }
}

Gradients AttentionBackwardTest::Formula() const {
  Gradients sums{Zeros(case_.tokens, queries_.cols()), Zeros(case_.tokens, keys_.cols()),
                 Zeros(case_.tokens, keys_.cols())};
  for (int64_t head = 0; head < case_.heads; ++head) {
    for (int64_t i = 0; i < case_.tokens; ++i) AddRow(head, i, sums);
  }
  for (Grid* grid : {&sums.queries, &sums.keys, &sums.values}) {
    for (auto& row : *grid) {
      for (Bounded& sum : row) sum.Round(case_.tokens + case_.heads + 1);
    }
  }
  return sums;
}

// sum of out o out_gradient.
double AttentionBackwardTest::Objective() const {
  double sum = 0;
  for (int64_t head = 0; head < case_.heads; ++head) {
    const int64_t kv_column = head / (case_.heads / case_.kv_heads) * case_.head_size;
    for (int64_t i = 0; i < case_.tokens; ++i) {
      const std::vector<Bounded> weights = Weights(head, i);
      for (size_t j = 0; j < weights.size(); ++j) {
        for (int64_t c = 0; c < case_.head_size; ++c) {
          sum += weights[j].value * values_.at(First(i) + static_cast<int64_t>(j), kv_column + c) *
                 out_gradient_.at(i, head * case_.head_size + c);
        }
      }
    }
  }
  return sum;
}

void CheckAll(const Matrix& got, const Grid& want, WorstShare& share) {
  for (int64_t r = 0; r < got.rows(); ++r) {
    for (int64_t c = 0; c < got.cols(); ++c) {
      // Where all terms are tiny, what exp leaves out below e^-87.
      share.Check(got.at(r, c), want[r][c].value, want[r][c].error * kSecondOrder + 1e-30);
    }
  }
}

TEST_P(AttentionBackwardTest, IsTheFormulaOfF64) {
  const Results got = Run();
  const Gradients want = Formula();
  WorstShare queries, keys, values;
  CheckAll(got.queries, want.queries, queries);
  CheckAll(got.keys, want.keys, keys);
  CheckAll(got.values, want.values, values);
  for (const WorstShare& share : {queries, keys, values}) {
    EXPECT_TRUE(case_.window == 1 || case_.tokens == 1 || share.worst() > 0.001) << share.worst();
  }
}

// Some entries of each input, by central differences: steps are powers of two that f32 inputs take exactly.
TEST_P(AttentionBackwardTest, FormulaIsTheDifferenceQuotient) {
  constexpr float kStep = 0x1p-10f;
  const Gradients want = Formula();
  RandomSequence random(5);
  const auto pick = [&](int64_t n) {
    return std::min(n - 1, static_cast<int64_t>((random.Next() + 1) / 2 * static_cast<float>(n)));
  };
  for (const auto& [matrix, grid] :
       {std::pair(&queries_, &want.queries), {&keys_, &want.keys}, {&values_, &want.values}}) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      const int64_t r = pick(matrix->rows()), c = pick(matrix->cols());
      const float kept = matrix->at(r, c);
      const auto at = [&](float steps) {
        matrix->at(r, c) = kept + steps * kStep;
        return Objective();
      };
      const double difference = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * double{kStep});
      matrix->at(r, c) = kept;
      // step^4 / 30 = 3e-14 of a fifth derivative, and sums of up to 1e4 terms rounded to 1e-16 over the step.
      EXPECT_NEAR((*grid)[r][c].value, difference, 1e-8) << r << " " << c;
    }
  }
}

TEST_P(AttentionBackwardTest, HasTheSameBitsForAnyNumberOfThreads) {
  const Results one = Run(1);
  for (int threads : {2, 5}) {
    const Results more = Run(threads);
    for (const auto& [a, b] :
         {std::pair(&one.queries, &more.queries), {&one.keys, &more.keys}, {&one.values, &more.values}}) {
      EXPECT_EQ(std::memcmp(a->data(), b->data(), static_cast<size_t>(a->size()) * sizeof(float)), 0) << threads;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionBackwardTest, testing::ValuesIn(kCases),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace quantd
