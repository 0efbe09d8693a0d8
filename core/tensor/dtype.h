// Element types of stored tensors, in safetensors' spelling.
#ifndef QUANTD_CORE_TENSOR_DTYPE_H_
#define QUANTD_CORE_TENSOR_DTYPE_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

enum class Dtype { kF64, kF32, kF16, kBf16, kI64, kI32, kI16, kI8, kU64, kU32, kU16, kU8, kBool };

absl::string_view DtypeName(Dtype dtype);                    // "F32"
std::optional<Dtype> DtypeFromName(absl::string_view name);  // nullopt: not one we read
int DtypeBytes(Dtype dtype);
bool IsFloat(Dtype dtype);

// IEEE half and bfloat16 as bit patterns. To*: round to nearest even; overflow gives infinity; NaN stays NaN.
float F16ToF32(uint16_t bits);
uint16_t F32ToF16(float value);
float Bf16ToF32(uint16_t bits);
uint16_t F32ToBf16(float value);

// Widens `count` elements of a float dtype at `bytes` (any alignment) into out. Integers are not accepted here.
void WidenToF32(Dtype dtype, const char* bytes, absl::Span<float> out);
// Narrows to F32, F16 or BF16 at `bytes`.
void NarrowFromF32(Dtype dtype, absl::Span<const float> values, char* bytes);

}  // namespace quantd

#endif  // QUANTD_CORE_TENSOR_DTYPE_H_
