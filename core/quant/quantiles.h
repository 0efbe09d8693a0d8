// Quantiles of many numbers without sorting all of them.
#ifndef QUANTD_CORE_QUANT_QUANTILES_H_
#define QUANTD_CORE_QUANT_QUANTILES_H_

#include <vector>

#include "absl/types/span.h"

namespace quantd {

// For each share q, 0..1 and rising, the value at place q (n - 1) of the n sorted values, between two of them linearly.
// `values` are finite and not negative, at least one.
std::vector<float> Quantiles(absl::Span<const float> values, absl::Span<const double> shares);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_QUANTILES_H_
