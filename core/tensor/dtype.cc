#include "core/tensor/dtype.h"

#include <algorithm>
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

// Both alternatives are computed and one is selected, so that a loop over values has no branch.
inline float HalfToFloat(uint16_t bits) {
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fff) << 13;  // exponent and mantissa in their f32 places
  // Rebias the exponent from 15 to 127; infinity and NaN (exponent 31) go on to 255.
  const uint32_t rebias = magnitude >= 0x0f800000 ? 224u << 23 : 112u << 23;
  // Zero and subnormals: mantissa * 2^-24, exact in f32.
  const uint32_t tiny = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude >> 13)) * 0x1p-24f);
  const uint32_t wide = magnitude < 0x00800000 ? tiny : magnitude + rebias;
  return std::bit_cast<float>(wide | static_cast<uint32_t>(bits & 0x8000) << 16);
}

inline float BrainToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// out[i] = convert(element i). Blocks of constant length on aligned copies are what the compiler vectorizes.
template <typename T, typename Convert>
void Widen(const char* bytes, absl::Span<float> out, Convert convert) {
  constexpr size_t kBlock = 64;
  T block[kBlock];
  size_t i = 0;
  for (; i + kBlock <= out.size(); i += kBlock) {
    std::memcpy(block, bytes + i * sizeof(T), sizeof(block));
    for (size_t lane = 0; lane < kBlock; ++lane) out[i + lane] = convert(block[lane]);
  }
  const size_t rest = out.size() - i;
  if (rest > 0) std::memcpy(block, bytes + i * sizeof(T), rest * sizeof(T));
  for (size_t lane = 0; lane < rest; ++lane) out[i + lane] = convert(block[lane]);
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
  return HalfToFloat(bits);
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
  return BrainToFloat(bits);
}

uint16_t F32ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void WidenToF32(Dtype dtype, const char* bytes, absl::Span<float> out) {
  switch (dtype) {
    case Dtype::kF32:
      if (!out.empty()) std::memcpy(out.data(), bytes, out.size() * 4);
      return;
    case Dtype::kF16:
      return Widen<uint16_t>(bytes, out, [](uint16_t bits) { return HalfToFloat(bits); });
    case Dtype::kBf16:
      return Widen<uint16_t>(bytes, out, [](uint16_t bits) { return BrainToFloat(bits); });
    case Dtype::kF64:
      return Widen<double>(bytes, out, [](double value) { return static_cast<float>(value); });
    default:
      std::fill(out.begin(), out.end(), 0.0f);
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
