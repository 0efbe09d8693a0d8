// Every form of a weight against the f32 matrix that it stands for.
#include "core/compute/linear_weight.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

#include "core/compute/matmul.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

struct HalfCase {
  Dtype dtype;
  int64_t rows, cols;
};

class HalfLinearTest : public testing::TestWithParam<HalfCase> {
 protected:
  // Among them zeros of both signs, and numbers that are denormal in IEEE half.
  Matrix Values() const {
    Matrix values = RandomMatrix(param_.rows, param_.cols, 1);
    int64_t i = 0;
    for (float& value : values.span()) {
      if (i % 7 == 0) value *= 0x1p-20f;
      if (i % 11 == 0) value = i % 2 == 0 ? 0.0f : -0.0f;
      value = param_.dtype == Dtype::kF16 ? F16ToF32(F32ToF16(value)) : Bf16ToF32(F32ToBf16(value));
      ++i;
    }
    return values;
  }

  const HalfCase param_ = GetParam();
};

TEST_P(HalfLinearTest, HasTheBitsOfTheWidenedMatrix) {
  const Matrix values = Values();
  HalfLinear weight(param_.dtype, param_.rows, param_.cols);
  weight.SetRows(0, values.view());
  EXPECT_EQ(weight.resident_bytes(), static_cast<uint64_t>(param_.rows * param_.cols * 2));
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    for (const int64_t rows : {1, 2, 4, 5, 300}) {
      for (const bool accumulate : {false, true}) {
        const auto context = ExecutionContext::Create({.threads = 2, .isa_at_most = isa}).value();
        const Matrix a = RandomMatrix(rows, param_.cols, 2);
        Matrix out = RandomMatrix(rows, param_.rows, 3), expected = RandomMatrix(rows, param_.rows, 3);
        weight.Multiply(*context, a.view(), out.view(), accumulate);
        MatMulTransposed(*context, a.view(), values.view(), expected.view(), accumulate);
        EXPECT_EQ(std::memcmp(out.data(), expected.data(), static_cast<size_t>(out.size()) * sizeof(float)), 0)
            << isa << " " << rows;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, HalfLinearTest,
                         testing::Values(HalfCase{Dtype::kBf16, 70, 100}, HalfCase{Dtype::kBf16, 1, 1},
                                         HalfCase{Dtype::kBf16, 600, 64}, HalfCase{Dtype::kF16, 70, 100},
                                         HalfCase{Dtype::kF16, 3, 31}, HalfCase{Dtype::kF16, 257, 96}));

}  // namespace
}  // namespace quantd
