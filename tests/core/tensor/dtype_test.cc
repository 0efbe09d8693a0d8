#include "core/tensor/dtype.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr Dtype kAll[] = {Dtype::kF64, Dtype::kF32, Dtype::kF16, Dtype::kBf16, Dtype::kI64, Dtype::kI32, Dtype::kI16,
                          Dtype::kI8,  Dtype::kU64, Dtype::kU32, Dtype::kU16,  Dtype::kU8,  Dtype::kBool};

TEST(Dtype, NamesAndSizesBelongTogether) {
  for (const Dtype dtype : kAll) {
    EXPECT_EQ(DtypeFromName(DtypeName(dtype)), dtype) << DtypeName(dtype);
    EXPECT_EQ(IsFloat(dtype), absl::string_view(DtypeName(dtype)).find('F') != absl::string_view::npos);
  }
  EXPECT_EQ(DtypeName(Dtype::kBf16), "BF16");
  EXPECT_EQ(DtypeBytes(Dtype::kF64), 8);
  EXPECT_EQ(DtypeBytes(Dtype::kBf16), 2);
  EXPECT_EQ(DtypeBytes(Dtype::kBool), 1);
  for (const char* unknown : {"", "f32", "F8_E4M3", "F33"}) EXPECT_EQ(DtypeFromName(unknown), std::nullopt) << unknown;
}

// From the definition of IEEE 754 binary16, in double.
double HalfValue(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return mantissa != 0 ? std::nan("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(F16, EveryPatternWidensToItsValueAndBack) {
  for (int pattern = 0; pattern < 65536; ++pattern) {
    const uint16_t bits = static_cast<uint16_t>(pattern);
    const float value = F16ToF32(bits);
    if (std::isnan(HalfValue(bits))) {
      EXPECT_TRUE(std::isnan(value)) << pattern;
      EXPECT_TRUE(std::isnan(F16ToF32(F32ToF16(value)))) << pattern;
      continue;
    }
    EXPECT_EQ(value, HalfValue(bits)) << pattern;
    EXPECT_EQ(std::signbit(value), (bits & 0x8000) != 0) << pattern;
    EXPECT_EQ(F32ToF16(value), bits) << pattern;
  }
}

TEST(Bf16, EveryPatternWidensToItsValueAndBack) {
  for (int pattern = 0; pattern < 65536; ++pattern) {
    const uint16_t bits = static_cast<uint16_t>(pattern);
    const float value = Bf16ToF32(bits);
    EXPECT_EQ(std::bit_cast<uint32_t>(value), static_cast<uint32_t>(pattern) << 16);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(value)))) << pattern;
    } else {
      EXPECT_EQ(F32ToBf16(value), bits) << pattern;
    }
  }
}

// Between each pair of neighbours: just below the middle goes down, the middle goes to the even pattern, just above
// goes up. The middle of two f16 or bf16 numbers is exact in f32.
template <typename Widen, typename Narrow>
void CheckRounding(int last_finite, Widen widen, Narrow narrow) {
  for (int pattern = 0; pattern < last_finite; ++pattern) {
    const float below = widen(static_cast<uint16_t>(pattern));
    const float above = widen(static_cast<uint16_t>(pattern + 1));
    const float middle = static_cast<float>((double{below} + double{above}) / 2);
    const int even = pattern + pattern % 2;
    ASSERT_EQ(narrow(middle), even) << pattern;
    ASSERT_EQ(narrow(std::nextafter(middle, 0.0f)), pattern) << pattern;
    ASSERT_EQ(narrow(std::nextafter(middle, INFINITY)), pattern + 1) << pattern;
    ASSERT_EQ(narrow(-middle), even | 0x8000) << pattern;
  }
}

TEST(F16, RoundsToNearestEven) {
  CheckRounding(0x7bff, &F16ToF32, &F32ToF16);
}

// Below the smallest normal f32 the middle of two bf16 subnormals is still an f32 subnormal, so that this holds from 0.
TEST(Bf16, RoundsToNearestEven) {
  CheckRounding(0x7f7f, &Bf16ToF32, &F32ToBf16);
}

TEST(F16, OverflowGivesInfinity) {
  EXPECT_EQ(F32ToF16(65504.0f), 0x7bff);
  EXPECT_EQ(F32ToF16(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(F32ToF16(65520.0f), 0x7c00) << "the middle between the largest number and 2^16";
  EXPECT_EQ(F32ToF16(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(F32ToF16(-INFINITY), 0xfc00);
  EXPECT_EQ(F32ToF16(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(F32ToF16(-0.0f), 0x8000);
}

TEST(Bf16, OverflowGivesInfinity) {
  EXPECT_EQ(F32ToBf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(F32ToBf16(-INFINITY), 0xff80);
}

// A NaN whose payload lies in the bits that are cut off must not become an infinity.
TEST(Bf16, NanWithLowPayloadStaysNan) {
  EXPECT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(F16ToF32(F32ToF16(std::bit_cast<float>(0x7f800001u)))));
}

// All patterns at once, at every alignment and at lengths that end inside a vector.
TEST(WidenToF32, AgreesWithTheScalarDefinition) {
  for (const Dtype dtype : {Dtype::kF16, Dtype::kBf16}) {
    for (const size_t offset : {0, 1, 2, 3}) {
      for (const size_t count : {0, 1, 63, 64, 65, 65536}) {
        std::vector<char> bytes(offset + 2 * 65536);
        for (int i = 0; i < 65536; ++i) {
          const uint16_t pattern = static_cast<uint16_t>(i);
          std::memcpy(bytes.data() + offset + 2 * i, &pattern, 2);
        }
        std::vector<float> out(count, -1.0f);
        WidenToF32(dtype, bytes.data() + offset, absl::MakeSpan(out));
        for (size_t i = 0; i < count; ++i) {
          const uint16_t pattern = static_cast<uint16_t>(i);
          const float expected = dtype == Dtype::kF16 ? F16ToF32(pattern) : Bf16ToF32(pattern);
          ASSERT_EQ(std::bit_cast<uint32_t>(out[i]), std::bit_cast<uint32_t>(expected)) << DtypeName(dtype) << i;
        }
      }
    }
  }
}

TEST(WidenToF32, WideTypes) {
  const std::vector<double> doubles = {1.0, -0.5, 1e-3, 1e300};
  std::vector<float> out(4);
  WidenToF32(Dtype::kF64, reinterpret_cast<const char*>(doubles.data()), absl::MakeSpan(out));
  EXPECT_THAT(out, testing::ElementsAre(1.0f, -0.5f, static_cast<float>(1e-3), INFINITY));
  const std::vector<float> floats = {1.5f, -2.5f, 0.0f};
  out.resize(3);
  WidenToF32(Dtype::kF32, reinterpret_cast<const char*>(floats.data()), absl::MakeSpan(out));
  EXPECT_EQ(out, floats);
}

TEST(NarrowFromF32, IsUndoneByWidening) {
  const std::vector<float> values = {1.0f, -0.5f, 0.0f, 1024.0f};
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBf16}) {
    std::vector<char> bytes(values.size() * DtypeBytes(dtype));
    NarrowFromF32(dtype, values, bytes.data());
    std::vector<float> out(values.size());
    WidenToF32(dtype, bytes.data(), absl::MakeSpan(out));
    EXPECT_EQ(out, values) << DtypeName(dtype);
  }
}

}  // namespace
}  // namespace quantd
