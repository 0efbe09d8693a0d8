// Scales and signs of LUT-GEMM's own binary coding, and its conversion of uniform codes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/quant/bcq_fit.h"
#include "tests/core/quant/golden_case.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// The released code's importance of weights: |w| over the largest, or over the one that `clipping` says and at most 1;
// to the power of `exponent`.
std::vector<double> ImportanceOf(const Matrix& weight, const Json& options) {
  const double exponent = options["exponent"];
  const double clipping = options["clipping"];
  std::vector<double> importance(weight.size(), 1.0);
  if (exponent == 0 && clipping == 1) return importance;
  std::vector<double> magnitudes;
  for (float value : weight.span()) magnitudes.push_back(std::abs(value));
  std::vector<double> sorted = magnitudes;
  std::sort(sorted.begin(), sorted.end());
  const double top = clipping < 1 ? sorted[static_cast<size_t>(sorted.size() * clipping)] : sorted.back();
  for (size_t i = 0; i < importance.size(); ++i) importance[i] = std::min(1.0, magnitudes[i] / top);
  // Without an exponent the importance of a clipped fit stays linear.
  for (double& value : importance) value = exponent > 0 ? std::pow(value, exponent) : value;
  return importance;
}

class GoldenFit {
 public:
  GoldenFit(GoldenFiles& files, const Json& entry)
      : files_(files),
        file_(entry["file"]),
        prefix_(absl::StrCat(std::string(entry["id"]).substr(std::string(entry["id"]).find('/') + 1), ".")),
        compare_(entry["compare"]),
        weight_(files.Read(file_, "W")),
        importance_(ImportanceOf(weight_, entry["options"])),
        planes_(entry["options"]["qbits"]),
        group_size_(entry["options"]["group_size"] == -1 ? weight_.cols()
                                                         : entry["options"]["group_size"].get<int64_t>()),
        options_{.planes = static_cast<int>(planes_),
                 .rounds = entry["options"]["rounds"],
                 .greedy_codes = !entry["options"]["use_bst"].get<bool>()} {}

  void Compare() const {
    SCOPED_TRACE(prefix_);
    std::set<std::pair<int64_t, int64_t>> unstable;
    for (const Json& group : compare_["unstable_groups"]) unstable.insert({group[0], group[1]});
    const int64_t groups = weight_.cols() / group_size_;
    for (int64_t row = 0; row < weight_.rows(); ++row) {
      for (int64_t group = 0; group < groups; ++group) {
        if (unstable.count({row, group}) == 0) CompareGroup(row, group, row * groups + group);
      }
    }
  }

 private:
  void CompareGroup(int64_t row, int64_t group, int64_t index) const {
    SCOPED_TRACE(absl::StrCat("row ", row, " group ", group));
    const int64_t first = row * weight_.cols() + group * group_size_;
    const std::vector<double> weights(weight_.span().begin() + first, weight_.span().begin() + first + group_size_);
    const BcqFit fit = FitBcq(weights, absl::MakeConstSpan(importance_).subspan(first, group_size_), options_);
    const Matrix alphas = files_.Read(file_, prefix_ + "alpha");
    const double tolerance = 10 * compare_["alpha_max_abs_diff_f32_f64"].get<double>() + 1e-6 * fit.alphas[0];
    for (int64_t i = 0; i < planes_; ++i) {
      EXPECT_NEAR(fit.alphas[i], alphas.span()[index * planes_ + i], tolerance) << "plane " << i;
    }
    CompareSigns(fit, first);
  }

  void CompareSigns(const BcqFit& fit, int64_t first) const {
    const Matrix bits = files_.Read(file_, prefix_ + "bits");
    const bool has_zeros = files_.Has(file_, prefix_ + "bits_zero");
    const Matrix zeros = has_zeros ? files_.Read(file_, prefix_ + "bits_zero") : Matrix();
    for (int64_t k = 0; k < group_size_; ++k) {
      const int positive = static_cast<int>(bits.span()[first + k]);
      const int zero = has_zeros ? static_cast<int>(zeros.span()[first + k]) : 0;
      for (int64_t i = 0; i < planes_; ++i) {
        const int expected = (zero >> i & 1) != 0 ? 0 : (positive >> i & 1) != 0 ? 1 : -1;
        ASSERT_EQ(fit.signs[i * group_size_ + k], expected) << "plane " << i << " weight " << k;
      }
    }
  }

  GoldenFiles& files_;
  const std::string file_;
  const std::string prefix_;
  const Json& compare_;
  const Matrix weight_;
  const std::vector<double> importance_;
  const int64_t planes_;
  const int64_t group_size_;
  const BcqFitOptions options_;
};

void CheckCases(const std::string& folder) {
  GoldenFiles files(folder);
  int checked = 0;
  for (const Json& entry : GoldenEntries(folder, "bcq")) {
    if (entry["options"].contains("kind")) continue;
    GoldenFit(files, entry).Compare();
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

TEST(BcqGolden, StoredCasesMatch) {
  CheckCases(SourcePath("tests/data/quant"));
}

TEST(BcqGolden, SharedCasesMatch) {
  const auto folder = GoldenPath("quant");
  SKIP_UNLESS_PRESENT(folder, "golden/quant");
  CheckCases(*folder);
}

}  // namespace
}  // namespace quantd
