// Products with bit planes against sums in f64 of the values that the planes stand for, within the header's bound, and
// bit for bit between instruction sets and thread counts.
#include "core/compute/planes_product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/compute/matmul.h"
#include "tests/core/compute/random_planes.h"
#include "tests/core/compute/rounding_bounds.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kIsas[][8] = {"scalar", "avx2", "avx512"};
constexpr PlaneScaling kIntegers = PlaneScaling::kIntegers;
constexpr PlaneScaling kSigns = PlaneScaling::kSigns;

std::vector<uint8_t> PowersOfTwo(int planes) {
  std::vector<uint8_t> steps;
  for (int p = 0; p < planes; ++p) steps.push_back(static_cast<uint8_t>(1 << p));
  return steps;
}

std::vector<int32_t> ShuffledColumns(int64_t cols) {
  std::vector<int32_t> order(static_cast<size_t>(cols));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(5));
  return order;
}

PlanesLayout Layout(int64_t rows, int64_t cols, int planes, int64_t group_size, PlaneScaling scaling) {
  return {.rows = rows, .cols = cols, .planes = planes, .group_size = group_size, .scaling = scaling};
}

// Around blocks of 16 rows, tiles of 64, lines of 32 inputs, spans of 256; every number of planes; every storage form.
std::vector<PlanesLayout> Layouts() {
  std::vector<PlanesLayout> layouts;
  for (int planes = 1; planes <= kMaxPlanes; ++planes) {
    layouts.push_back(Layout(17, 96, planes, 32, planes % 2 == 0 ? kSigns : kIntegers));
    PlanesLayout uniform = Layout(65, 320, planes, 64, kIntegers);
    uniform.shared_steps = PowersOfTwo(planes);
    uniform.wide_bases = planes == kMaxPlanes;
    layouts.push_back(uniform);
  }
  layouts.push_back(Layout(1, 1, 2, 1, kIntegers));
  layouts.push_back(Layout(3, 31, 3, 100, kSigns));
  layouts.push_back(Layout(64, 33, 3, 33, kIntegers));
  layouts.push_back(Layout(130, 576, 3, 128, kIntegers));  // a short last group
  layouts.push_back(Layout(80, 1000, 2, 1000, kSigns));    // a whole row of four spans
  layouts.push_back(Layout(50, 700, 4, 320, kIntegers));   // groups of two spans
  layouts.back().scale_dtype = Dtype::kF32;
  layouts.push_back(Layout(40, 256, 3, 64, kSigns));
  layouts.back().scale_dtype = Dtype::kF32;
  layouts.push_back(Layout(40, 250, 3, 64, kIntegers));
  layouts.back().column_order = ShuffledColumns(250);
  return layouts;
}

class PlanesProductTest : public testing::TestWithParam<PlanesLayout> {
 protected:
  const PlanesLayout layout_ = GetParam();
  const RandomPlanes random_ = MakeRandomPlanes(layout_, 7);
  // A view into a wider matrix: strides are not widths.
  const Matrix wide_a_ = RandomMatrix(20, layout_.cols + 5, 1);

  MatrixView a(int64_t rows) const { return wide_a_.view().Cols(2, layout_.cols).Rows(0, rows); }

  Matrix Run(const ExecutionOptions& options, int64_t rows, bool accumulate,
             PlaneArithmetic arithmetic = PlaneArithmetic::kExact) const {
    const auto context = ExecutionContext::Create(options).value();
    Matrix out = RandomMatrix(rows, layout_.rows, 3);
    if (!accumulate) {
      for (float& value : out.span()) value = std::numeric_limits<float>::quiet_NaN();
    }
    MultiplyPlanes(*context, a(rows), *random_.weight, out.view(),
                   {.accumulate = accumulate, .arithmetic = arithmetic});
    return out;
  }

  // What rounding an input to 14 bits may cost, as the header says.
  std::vector<double> RoundingOf(const float* x) const {
    const PlaneArrays& arrays = random_.weight->arrays();
    const auto column = [&](int64_t i) { return layout_.column_order.empty() ? i : layout_.column_order[i]; };
    std::vector<double> halves(static_cast<size_t>(layout_.cols));
    PlaneSpan span;
    for (int64_t line = 0; line < arrays.lines; line += span.lines) {
      span = SpanAt(arrays, line);
      const int64_t first = line * kPlaneInputs, end = std::min(layout_.cols, first + span.lines * kPlaneInputs);
      float largest = 0;
      for (int64_t i = first; i < end; ++i) largest = std::max(largest, std::abs(x[column(i)]));
      for (int64_t i = first; i < end; ++i) halves[column(i)] = largest / 16300.0;
    }
    return halves;
  }

  // Against sums in f64, within the header's bound. The definition of the values rounds as well: once a plane and once
  // for the scale.
  void CheckRows(int64_t rows, bool accumulate, PlaneArithmetic arithmetic, WorstShare& share) const {
    const Matrix start = RandomMatrix(rows, layout_.rows, 3);
    const Matrix out = Run({.threads = 2}, rows, accumulate, arithmetic);
    const double gamma = Gamma(PlaneRoundings(layout_) + layout_.planes + 1 + accumulate);
    for (int64_t t = 0; t < rows; ++t) {
      const std::vector<double> rounding = RoundingOf(a(rows).row(t));
      for (int64_t r = 0; r < layout_.rows; ++r) {
        Exact exact;
        if (accumulate) exact.Add(start.at(t, r), 1);
        double bound = gamma * exact.magnitude;
        for (int64_t c = 0; c < layout_.cols; ++c) {
          exact.Add(a(rows).at(t, c), random_.values.at(r, c));
          bound += gamma * std::abs(a(rows).at(t, c)) * random_.magnitudes.at(r, c);
          if (arithmetic == PlaneArithmetic::kRounded) bound += rounding[c] * std::abs(random_.values.at(r, c));
        }
        share.Check(out.at(t, r), exact.value, bound);
      }
    }
  }

  static bool SameBits(const Matrix& x, const Matrix& y) {
    return std::memcmp(x.data(), y.data(), static_cast<size_t>(x.size()) * sizeof(float)) == 0;
  }
};

TEST_P(PlanesProductTest, DecodesToItsDefinition) {
  for (const char* isa : kIsas) {
    const auto context = ExecutionContext::Create({.isa_at_most = isa}).value();
    Matrix decoded(layout_.rows, layout_.cols);
    random_.weight->DecodeRows(context->isa(), 0, decoded.view());
    EXPECT_TRUE(SameBits(decoded, random_.values)) << isa;
    const int64_t last = layout_.rows - 1;
    random_.weight->DecodeRows(context->isa(), last, decoded.view().Rows(0, 1));
    EXPECT_EQ(std::memcmp(decoded.row(0), random_.values.row(last), static_cast<size_t>(layout_.cols) * 4), 0);
  }
}

TEST_P(PlanesProductTest, FewRowsAreTheSumInF64) {
  for (const PlaneArithmetic arithmetic : {PlaneArithmetic::kExact, PlaneArithmetic::kRounded}) {
    WorstShare share;
    for (const bool accumulate : {false, true}) {
      for (const int64_t rows : {1, 3, 8}) CheckRows(rows, accumulate, arithmetic, share);
    }
    EXPECT_GT(share.worst(), 0.001);
  }
}
TEST_P(PlanesProductTest, FewRowsHaveTheSameBitsForAnyThreadsAndInstructionSet) {
  for (const bool accumulate : {false, true}) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 8}) {
      for (const PlaneArithmetic arithmetic : {PlaneArithmetic::kExact, PlaneArithmetic::kRounded}) {
        const Matrix expected = Run({.threads = 1, .isa_at_most = "scalar"}, rows, accumulate, arithmetic);
        for (const char* isa : kIsas) {
          for (const int threads : rows == 1 ? std::vector<int>{1, 2, 3, 8} : std::vector<int>{2}) {
            const Matrix out = Run({.threads = threads, .isa_at_most = isa}, rows, accumulate, arithmetic);
            EXPECT_TRUE(SameBits(out, expected)) << isa << " " << threads << " " << rows;
          }
        }
      }
    }
  }
}

// AVX-512 machines with byte shuffles never choose the table without them.
TEST_P(PlanesProductTest, TheOtherTableOf512BitsHasTheSameBitsToo) {
  if (DetectIsa() != Isa::kAvx512) GTEST_SKIP() << "no AVX-512 here";
  const PlaneArrays& arrays = random_.weight->arrays();
  std::vector<float> x(static_cast<size_t>(arrays.lines * kPlaneInputs));
  for (int64_t c = 0; c < layout_.cols; ++c) x[c] = a(1).at(0, c);
  std::vector<std::vector<float>> results;
  for (const PlaneKernels* kernels : {&ScalarPlaneKernels(), &Avx512PlaneKernels()}) {
    std::vector<int16_t> tables(static_cast<size_t>(arrays.lines * kRoundedLine));
    std::vector<float> quanta(arrays.lines), sums(arrays.lines);
    PlaneSpan span;
    for (int64_t line = 0; line < arrays.lines; line += span.lines) {
      span = SpanAt(arrays, line);
      kernels->build_rounded_tables(x.data() + line * kPlaneInputs, span.lines, 0, 1,
                                    tables.data() + line * kRoundedLine, &quanta[line], &sums[line]);
    }
    results.emplace_back(static_cast<size_t>(layout_.rows));
    for (int64_t tile = 0; tile < arrays.tiles(); ++tile) {
      kernels->multiply_tile_rounded(arrays, tile, {tables.data(), quanta.data(), sums.data()}, 1,
                                     results.back().data() + tile * kTileBlocks * kPlaneRows, layout_.rows);
    }
  }
  EXPECT_EQ(results[0], results[1]);
}

// A token's result does not depend on the tokens beside it.
TEST_P(PlanesProductTest, EachOfFewRowsIsAsIfAlone) {
  const Matrix together = Run({}, kMaxPlaneVectors, false);
  const auto context = ExecutionContext::Create({}).value();
  for (int64_t t = 0; t < kMaxPlaneVectors; ++t) {
    Matrix alone(1, layout_.rows);
    MultiplyPlanes(*context, a(20).Rows(t, 1), *random_.weight, alone.view());
    EXPECT_EQ(std::memcmp(alone.data(), together.row(t), static_cast<size_t>(layout_.rows) * sizeof(float)), 0);
  }
}

TEST_P(PlanesProductTest, ManyRowsAreTheProductWithTheDecodedWeight) {
  const auto context = ExecutionContext::Create({}).value();
  for (const bool accumulate : {false, true}) {
    const Matrix out = Run({.threads = 2}, 20, accumulate);
    Matrix expected = RandomMatrix(20, layout_.rows, 3);
    MatMulTransposed(*context, a(20), random_.values.view(), expected.view(), accumulate);
    EXPECT_TRUE(SameBits(out, expected));
  }
}

std::string NameOf(const testing::TestParamInfo<PlanesLayout>& info) {
  const PlanesLayout& l = info.param;
  return std::to_string(l.rows) + "x" + std::to_string(l.cols) + "_" + std::to_string(l.planes) + "planes_g" +
         std::to_string(l.group_size) + (l.scaling == kSigns ? "_signs" : "_integers") +
         (l.shared_steps.empty() ? "" : "_shared") + (l.column_order.empty() ? "" : "_shuffled") +
         (l.scale_dtype == Dtype::kF32 ? "_f32" : "");
}

INSTANTIATE_TEST_SUITE_P(Layouts, PlanesProductTest, testing::ValuesIn(Layouts()), NameOf);

struct BadLayout {
  const char* name;
  PlanesLayout layout;
};

class BadPlanesLayout : public testing::TestWithParam<BadLayout> {};

TEST_P(BadPlanesLayout, IsRefused) {
  EXPECT_EQ(ReasonOf(BinaryPlanesBuilder::Create(GetParam().layout).status()), "PLANES_UNSUPPORTED");
}

std::vector<BadLayout> BadLayouts() {
  const PlanesLayout good = Layout(4, 64, 2, 32, kIntegers);
  std::vector<BadLayout> bad(9, {"", good});
  bad[0] = {"NoRows", Layout(0, 64, 2, 32, kIntegers)};
  bad[1] = {"NoColumns", Layout(4, 0, 2, 32, kIntegers)};
  bad[2] = {"NoPlanes", Layout(4, 64, 0, 32, kIntegers)};
  bad[3] = {"NinePlanes", Layout(4, 64, 9, 32, kIntegers)};
  bad[4] = {"GroupCutsALine", Layout(4, 64, 2, 48, kIntegers)};
  bad[5].name = "ScalesOfAnotherType";
  bad[5].layout.scale_dtype = Dtype::kBf16;
  bad[6].name = "StepsOfOtherPlanes";
  bad[6].layout.shared_steps = {1};
  bad[7].name = "LargeSteps";
  bad[7].layout.shared_steps = {200, 56};
  bad[8].name = "OrderIsNoPermutation";
  bad[8].layout.column_order = std::vector<int32_t>(64, 3);
  return bad;
}

std::string NameOfBad(const testing::TestParamInfo<BadLayout>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Layouts, BadPlanesLayout, testing::ValuesIn(BadLayouts()), NameOfBad);

}  // namespace
}  // namespace quantd
