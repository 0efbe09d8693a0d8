// The search against an independent exhaustive one in f64: costs, scales, codebooks, merged codes.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/quant/binary_coded_search.h"
#include "tests/core/quant/golden_case.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// Both sides sum in f64, in other orders.
constexpr double kRelativeTolerance = 1e-9;

class GoldenSearch {
 public:
  GoldenSearch(GoldenFiles& files, const Json& entry)
      : files_(files),
        file_(entry["file"]),
        planes_(entry["options"]["m"]),
        linear_bits_(entry["options"]["n"]),
        rows_(entry["options"]["rows"]),
        weights_(files.ReadF64(file_, "W")),
        costs_(files.ReadF64(file_, "h")),
        multipliers_(files.ReadF64(file_, "multipliers")) {}

  void CompareAll() {
    for (const char* zero : {"fixed", "refit"}) {
      for (const char* roundings : {"one", "two"}) Compare(zero, roundings);
    }
    CompareUniform();
  }

 private:
  // Stored as f64, but f32 numbers as all weights are.
  std::vector<float> RowOf(int64_t row) const {
    const absl::Span<const double> values = absl::MakeConstSpan(weights_).subspan(row * costs_.size(), costs_.size());
    return {values.begin(), values.end()};
  }
  std::vector<double> Read(const std::string& tag, const char* tensor) const {
    return files_.ReadF64(file_, absl::StrCat(tag, ".", tensor));
  }
  BinarySearchOptions Options(bool refit, bool two) const {
    return {.planes = planes_,
            .linear_bits = linear_bits_,
            .family = CodebookFamily::kAll,
            .multipliers = multipliers_,
            .refit_zero = refit,
            .two_roundings = two,
            .with_uniform = false};
  }

  void Compare(const std::string& zero, const std::string& roundings) {
    const std::string tag = absl::StrCat(zero, "_", roundings);
    SCOPED_TRACE(absl::StrCat(file_, " ", tag));
    BinarySearchOptions options = Options(zero == "refit", roundings == "two");
    CompareBest(tag, options);
    CompareSpanning(tag, options);
    const std::vector<double> per_multiplier = Read(tag, "cost_per_multiplier");
    for (size_t i = 0; i < multipliers_.size(); ++i) {
      if (zero == "fixed" && roundings == "two" && i % 4 != 0) continue;  // enough of them
      options.multipliers = {multipliers_[i]};
      BinaryCodedSearch search(options, ScalarBinaryCodedKernels());
      for (int64_t row = 0; row < rows_; ++row) {
        const double expected = per_multiplier[row * multipliers_.size() + i];
        EXPECT_NEAR(search.Search(RowOf(row), costs_).cost, expected, kRelativeTolerance * expected);
      }
    }
  }

  void CompareBest(const std::string& tag, const BinarySearchOptions& options) {
    BinaryCodedSearch search(options, BinaryCodedKernelsFor(DetectIsa()));
    const Matrix books = files_.Read(file_, "codebooks");
    const Matrix argmin = files_.Read(file_, absl::StrCat(tag, ".argmin"));
    const Matrix ties = files_.Read(file_, absl::StrCat(tag, ".ties"));
    const std::vector<double> expected = Read(tag, "cost");
    const std::vector<double> alphas = Read(tag, "alpha");
    const std::vector<double> offsets = Read(tag, "offset");
    for (int64_t row = 0; row < rows_; ++row) {
      SCOPED_TRACE(row);
      const BinaryCodes found = search.Search(RowOf(row), costs_);
      EXPECT_NEAR(found.cost, expected[row], kRelativeTolerance * expected[row]);
      if (ties.span()[row] != 1) continue;
      EXPECT_EQ(found.multiplier, argmin.at(row, 0));
      const absl::Span<const float> points = books.view().row_span(static_cast<int64_t>(argmin.at(row, 1)));
      EXPECT_TRUE(std::equal(points.begin(), points.end(), found.book.points.begin(), found.book.points.end()));
      for (int i = 0; i < planes_; ++i) {
        EXPECT_NEAR(found.alpha(i), alphas[row * planes_ + i], kRelativeTolerance * alphas[row * planes_ + i]);
      }
      EXPECT_NEAR(found.offset(planes_), offsets[row], kRelativeTolerance * found.scale);
    }
  }

  void CompareSpanning(const std::string& tag, BinarySearchOptions options) {
    options.family = CodebookFamily::kSpanning;
    BinaryCodedSearch search(options, BinaryCodedKernelsFor(DetectIsa()));
    const std::vector<double> expected = Read(tag, "cost_spanning_only");
    for (int64_t row = 0; row < rows_; ++row) {
      EXPECT_NEAR(search.Search(RowOf(row), costs_).cost, expected[row], kRelativeTolerance * expected[row]);
    }
  }

  // One point, far away, so that the uniform grid's own cost comes back; and never less with more to choose from.
  void CompareUniform() {
    const std::vector<double> uniform = files_.ReadF64(file_, "cost_minmax_m_bits");
    BinarySearchOptions options = Options(true, false);
    options.with_uniform = true;
    options.multipliers = {100.0};
    BinaryCodedSearch alone(options, ScalarBinaryCodedKernels());
    options.multipliers = multipliers_;
    BinaryCodedSearch among_all(options, ScalarBinaryCodedKernels());
    for (int64_t row = 0; row < rows_; ++row) {
      EXPECT_NEAR(alone.Search(RowOf(row), costs_).cost, uniform[row], kRelativeTolerance * uniform[row]);
      EXPECT_LE(among_all.Search(RowOf(row), costs_).cost, uniform[row] * (1 + kRelativeTolerance));
    }
  }

  GoldenFiles& files_;
  const std::string file_;
  const int planes_;
  const int linear_bits_;
  const int64_t rows_;
  const std::vector<double> weights_;
  const std::vector<double> costs_;
  const std::vector<double> multipliers_;
};

void CheckCases(const std::string& folder) {
  GoldenFiles files(folder);
  const std::vector<Json> entries = GoldenEntries(folder, "gptqt");
  EXPECT_FALSE(entries.empty());
  for (const Json& entry : entries) GoldenSearch(files, entry).CompareAll();
}

TEST(GptqtGolden, StoredCasesMatch) {
  CheckCases(SourcePath("tests/data/quant"));
}

TEST(GptqtGolden, SharedCasesMatch) {
  const auto folder = GoldenPath("quant");
  SKIP_UNLESS_PRESENT(folder, "golden/quant");
  CheckCases(*folder);
}

}  // namespace
}  // namespace quantd
