// Counts and indices as U8, U16 or U32 tensors, little-endian.
#ifndef QUANTD_CORE_QUANT_UNSIGNED_INTEGERS_H_
#define QUANTD_CORE_QUANT_UNSIGNED_INTEGERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/tensor/dtype.h"

namespace quantd {

// `values` are not negative and fit the dtype.
std::string PackUnsigned(Dtype dtype, absl::Span<const int32_t> values);
// Any bytes, a whole number of values. Numbers beyond 2^31 - 1 become negative: check for that.
std::vector<int32_t> UnpackUnsigned(Dtype dtype, absl::string_view bytes);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_UNSIGNED_INTEGERS_H_
