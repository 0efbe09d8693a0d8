#include "core/tensor/dtype.h"

#include <bit>
#include <cstring>

namespace quantd {
namespace {

struct DtypeRow {
  Dtype dtype;
  const char* name;
  int bytes;
  bool is_float;
};
constexpr DtypeRow kDtypes[] = {
    {Dtype::kF64, "F64", 8, true},    {Dtype::kF32, "F32", 4, true},  {Dtype::kF16, "F16", 2, true},
    {Dtype::kBf16, "BF16", 2, true},  {Dtype::kI64, "I64", 8, false}, {Dtype::kI32, "I32", 4, false},
    {Dtype::kI16, "I16", 2, false},   {Dtype::kI8, "I8", 1, false},   {Dtype::kU64, "U64", 8, false},
    {Dtype::kU32, "U32", 4, false},   {Dtype::kU16, "U16", 2, false}, {Dtype::kU8, "U8", 1, false},
    {Dtype::kBool, "BOOL", 1, false},
};

const DtypeRow& Row(Dtype dtype) {
  return kDtypes[static_cast<int>(dtype)];
}

template <typename T>
T Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

}  // namespace

absl::string_view DtypeName(Dtype dtype) {
  return Row(dtype).name;
}
int DtypeBytes(Dtype dtype) {
  return Row(dtype).bytes;
}
bool IsFloat(Dtype dtype) {
  return Row(dtype).is_float;
}

std::optional<Dtype> DtypeFromName(absl::string_view name) {
  for (const DtypeRow& row : kDtypes) {
    if (name == row.name) return row.dtype;
  }
  return std::nullopt;
}

float F16ToF32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24 is exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide_exponent = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide_exponent << 23 | mantissa << 13);
}

uint16_t F32ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;   // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // rounds to 2^16 or more
  if (magnitude < 0x38800000) {                       // below 2^-14: subnormal, units of 2^-24
    // Adding 0.5 puts the units of 2^-24 at the last mantissa bit, so that the addition rounds to nearest even.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3f000000);
  }
  const uint32_t odd = magnitude >> 13 & 1;
  return sign | static_cast<uint16_t>((magnitude - 0x38000000 + 0xfff + odd) >> 13);
}

float Bf16ToF32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t F32ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void WidenToF32(Dtype dtype, const char* bytes, absl::Span<float> out) {
  switch (dtype) {
    case Dtype::kF32:
      std::memcpy(out.data(), bytes, out.size() * 4);
      return;
    case Dtype::kF16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = F16ToF32(Load<uint16_t>(bytes + 2 * i));
      return;
    case Dtype::kBf16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = Bf16ToF32(Load<uint16_t>(bytes + 2 * i));
      return;
    case Dtype::kF64:
      for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(Load<double>(bytes + 8 * i));
      return;
    default:
      for (float& value : out) value = 0;
  }
}

void NarrowFromF32(Dtype dtype, absl::Span<const float> values, char* bytes) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == Dtype::kF32) {
      std::memcpy(bytes + 4 * i, &values[i], 4);
    } else {
      const uint16_t half = dtype == Dtype::kF16 ? F32ToF16(values[i]) : F32ToBf16(values[i]);
      std::memcpy(bytes + 2 * i, &half, 2);
    }
  }
}

}  // namespace quantd
