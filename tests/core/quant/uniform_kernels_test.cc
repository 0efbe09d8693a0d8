// Every table of inner loops gives the bits of the scalar one, and the scalar one what its comments say.
#include "core/quant/uniform_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/quant/column_slabs.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

std::vector<const UniformKernels*> SupportedTables() {
  std::vector<const UniformKernels*> tables;
  for (Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= DetectIsa()) tables.push_back(&UniformKernelsFor(isa));
  }
  return tables;
}

// One column of a slab: random values, then those at which loops go wrong.
struct Column {
  Column() {
    constexpr float kSpecial[] = {0.0f,
                                  -0.0f,
                                  0.125f,  // ties, for the scale 0.25 below
                                  -0.125f,
                                  0.375f,
                                  1e-45f,
                                  -1e-39f,
                                  std::numeric_limits<float>::min(),
                                  std::numeric_limits<float>::max(),
                                  std::numeric_limits<float>::lowest(),
                                  1e6f,
                                  -1e6f};
    const Matrix random = RandomMatrix(4, kSlabRows, 51);
    for (int64_t i = 0; i < kSlabRows; ++i) {
      values[i] = 3 * random.at(0, i);
      scales[i] = 0.2f + 0.1f * random.at(1, i);
      zeros[i] = std::floor(7.5f + 7.5f * random.at(2, i));
      errors[i] = random.at(3, i);
    }
    for (size_t i = 0; i < std::size(kSpecial); ++i) {
      values[10 * i] = kSpecial[i];
      scales[10 * i] = 0.25f;
    }
  }
  float values[kSlabRows];
  float scales[kSlabRows];
  float zeros[kSlabRows];
  float errors[kSlabRows];
};

// Everything a table computes from a column.
struct Results {
  explicit Results(const UniformKernels& table) {
    const Column c;
    std::memset(this, 0, sizeof(*this));
    table.widen_range(c.values, lo, hi);
    table.round_to_grid(c.values, c.scales, c.zeros, 15, nearest, codes);
    table.add_clip_errors(c.errors, c.scales, c.zeros, 15, clip_errors);
    table.divide_difference(c.values, nearest, 0.37f, divided);
    table.add_squares(c.errors, squares);
    std::memcpy(subtracted, c.values, sizeof(subtracted));
    table.subtract_scaled(c.errors, 1.3f, subtracted);
  }
  float lo[kSlabRows], hi[kSlabRows], nearest[kSlabRows], divided[kSlabRows], subtracted[kSlabRows];
  double clip_errors[kSlabRows], squares[kSlabRows];
  Code codes[kSlabRows];
};

TEST(UniformKernels, EveryTableGivesTheScalarBits) {
  const Results scalar(ScalarUniformKernels());
  for (const UniformKernels* table : SupportedTables()) {
    const Results results(*table);
    EXPECT_EQ(std::memcmp(&results, &scalar, sizeof(scalar)), 0) << IsaName(table->isa);
  }
}

TEST(UniformKernels, TablesAreWhatTheyAreAskedFor) {
  for (const UniformKernels* table : SupportedTables()) EXPECT_EQ(&UniformKernelsFor(table->isa), table);
  EXPECT_EQ(ScalarUniformKernels().isa, Isa::kScalar);
}

TEST(UniformKernels, RoundToGridFollowsItsFormula) {
  const Column c;
  const Results results(ScalarUniformKernels());
  for (int64_t i = 0; i < kSlabRows; ++i) {
    const float code = std::clamp(std::nearbyint(c.values[i] / c.scales[i]) + c.zeros[i], 0.0f, 15.0f);
    EXPECT_EQ(results.codes[i], static_cast<Code>(code)) << c.values[i] << " / " << c.scales[i];
    EXPECT_EQ(results.nearest[i], c.scales[i] * (code - c.zeros[i]));
  }
}

TEST(UniformKernels, ClipErrorIsThePowerOfTheDifference) {
  const Column c;
  const Results results(ScalarUniformKernels());
  for (int64_t i = 0; i < kSlabRows; ++i) {
    const float code = std::clamp(std::nearbyint(c.errors[i] / c.scales[i]) + c.zeros[i], 0.0f, 15.0f);
    const float difference = c.scales[i] * (code - c.zeros[i]) - c.errors[i];
    const double expected = std::pow(std::abs(double{difference}), 2.4);
    // One step of Newton in f64 from f32's relative 1e-6 leaves 3e-12.
    EXPECT_NEAR(results.clip_errors[i], expected, 1e-10 * expected) << difference;
  }
}

TEST(UniformKernels, NotANumberGetsACodeInRange) {
  for (const UniformKernels* table : SupportedTables()) {
    Column c;
    for (float& value : c.values) value = std::numeric_limits<float>::quiet_NaN();
    Code codes[kSlabRows];
    table->round_to_grid(c.values, c.scales, c.zeros, 15, c.values, codes);
    for (Code code : codes) EXPECT_LE(code, 15) << IsaName(table->isa);
  }
}

}  // namespace
}  // namespace quantd
