// Position encodings: rotary embedding of q and k, and ALiBi slopes.
#ifndef QUANTD_CORE_MODEL_POSITIONS_H_
#define QUANTD_CORE_MODEL_POSITIONS_H_

#include <cstdint>
#include <vector>

#include "core/compute/execution_context.h"
#include "core/model/model_config.h"
#include "core/tensor/matrix.h"

namespace quantd {

// Angular frequencies of the head_size / 2 pairs, scaling applied (formats.md: default, linear, llama3). Computed in
// double.
std::vector<double> RotaryFrequencies(const ModelConfig& config);

// Turns pair (i, i + head_size / 2) of every head by position * frequency[i]. rows [tokens, heads * head_size], row t
// at position first_position + t.
void ApplyRotary(const ExecutionContext& context, const std::vector<double>& frequencies, int64_t first_position,
                 MutableMatrixView rows);

// One slope a head: powers of 2^(-8/n) for the first n heads, n the largest power of two not above `heads`, then every
// other power of 2^(-4/n).
std::vector<float> AlibiSlopes(int64_t heads);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_POSITIONS_H_
