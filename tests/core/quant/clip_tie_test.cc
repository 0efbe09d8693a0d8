// Where two ranges are nearly as good, the search for a tighter one chooses as f64 does, whatever f32 sums say.
//
// Near ties are made: between a weight with which one range wins and a weight with which another does, bisection finds
// two neighbouring f32 numbers where the winner changes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/quant/uniform_weight.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int kCols = 24;
constexpr int kMaxCode = 7;  // 3 bits
using Row = std::vector<float>;

double ScaleOf(const Row& row, int percent) {
  const auto [lo, hi] = std::minmax_element(row.begin(), row.end());
  return percent / 100.0 * (double{std::max(*hi, 0.0f)} - double{std::min(*lo, 0.0f)}) / kMaxCode;
}

// Sum of |error|^2.4 of the range shrunk to `percent`, all in f64.
double Cost(const Row& row, int percent) {
  const double scale = ScaleOf(row, percent);
  const double lo = percent / 100.0 * std::min(*std::min_element(row.begin(), row.end()), 0.0f);
  const double zero = std::clamp<double>(std::nearbyint(-lo / scale), 0, kMaxCode);
  double sum = 0;
  for (const double value : row) {
    const double code = std::clamp<double>(std::nearbyint(value / scale) + zero, 0, kMaxCode);
    sum += std::pow(std::abs(scale * (code - zero) - value), 2.4);
  }
  return sum;
}

int BestPercent(const Row& row) {
  int best = 100;
  double least = std::numeric_limits<double>::infinity();
  for (int percent = 100; percent > 20; --percent) {
    const double cost = Cost(row, percent);
    if (cost < least) best = percent;
    least = std::min(least, cost);
  }
  return best;
}

// Changes row[0] until its neighbour in f32 has another best range; false when the two ends have the same one.
bool MoveToATie(Row& row, float other_value) {
  Row other = row;
  other[0] = other_value;
  const int best = BestPercent(row);
  if (BestPercent(other) == best) return false;
  for (;;) {
    Row middle = row;
    middle[0] = row[0] + (other[0] - row[0]) / 2;
    if (middle[0] == row[0] || middle[0] == other[0]) return true;
    (BestPercent(middle) == best ? row : other) = middle;
  }
}

std::vector<Row> RowsWithTies(int count) {
  RandomSequence random(77);
  std::vector<Row> rows;
  while (static_cast<int>(rows.size()) < count) {
    Row row(kCols);
    for (float& value : row) value = random.Next();
    // Within the others, so that the range stays as it is.
    row[0] *= 0.5f;
    if (MoveToATie(row, 0.5f * random.Next())) rows.push_back(row);
  }
  return rows;
}

TEST(ClipTies, AreDecidedInF64) {
  const std::vector<Row> rows = RowsWithTies(200);
  Matrix weight(static_cast<int64_t>(rows.size()), kCols);
  for (size_t r = 0; r < rows.size(); ++r) std::copy(rows[r].begin(), rows[r].end(), &weight.at(r, 0));
  const Json overrides = {{"bits", 3}, {"group_size", -1}, {"scale_dtype", "f32"}, {"clip_search", "mse"}};
  const SitePlan plan = TestPlan("rtn", overrides, weight.rows(), kCols);
  ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*TestContext(), plan, weight.view(), Matrix()));
  const auto& uniform = static_cast<const UniformWeight&>(*result.weight);
  int near_ties = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    const int best = BestPercent(rows[r]);
    std::vector<float> scale(1);
    uniform.ScalesOfRow(static_cast<int64_t>(r), absl::MakeSpan(scale));
    // Percentages are a hundredth apart, the rounding of a scale is 2^-24.
    EXPECT_NEAR(scale[0], ScaleOf(rows[r], best), 1e-6 * scale[0]) << "row " << r << ", best is " << best << " %";
    for (int percent = 100; percent > 20; --percent) {
      near_ties += percent != best && Cost(rows[r], percent) < Cost(rows[r], best) * (1 + 1e-6) ? 1 : 0;
    }
  }
  EXPECT_GT(near_ties, 100) << "the rows have no ties, so that nothing was decided";
}

}  // namespace
}  // namespace quantd
