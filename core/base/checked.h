// Arithmetic on sizes that came from a file: the answer, or nothing when 64 bits cannot hold it.
#ifndef QUANTD_CORE_BASE_CHECKED_H_
#define QUANTD_CORE_BASE_CHECKED_H_

#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace quantd {

inline std::optional<uint64_t> CheckedMultiply(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

inline std::optional<uint64_t> CheckedAdd(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

// Product of `factors`; 1 for none.
inline std::optional<uint64_t> CheckedProduct(absl::Span<const uint64_t> factors) {
  uint64_t result = 1;
  for (uint64_t factor : factors) {
    if (__builtin_mul_overflow(result, factor, &result)) return std::nullopt;
  }
  return result;
}

constexpr int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr int64_t RoundUp(int64_t a, int64_t multiple) {
  return CeilDiv(a, multiple) * multiple;
}

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_CHECKED_H_
