// Position encodings: rotary embedding of q and k, and ALiBi slopes.
#ifndef QUANTD_CORE_MODEL_POSITIONS_H_
#define QUANTD_CORE_MODEL_POSITIONS_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/compute/execution_context.h"
#include "core/model/model_config.h"
#include "core/tensor/matrix.h"

namespace quantd {

// Angular frequencies of the rotary_size / 2 pairs, scaling applied (default, linear, llama3).
std::vector<double> RotaryFrequencies(const ModelConfig& config);

// Cosines and sines of position * frequency, [positions, rotary_size / 2]. Computed in f64, rounded once.
struct RotaryTable {
  Matrix cosine;
  Matrix sine;
};

// The table of one model, made as far as positions have come up. Thread-safe; values do not depend on how it grew.
class RotaryTables {
 public:
  explicit RotaryTables(const ModelConfig& config) : frequencies_(RotaryFrequencies(config)) {}
  // At least `positions` rows. The table stays valid while held.
  std::shared_ptr<const RotaryTable> Covering(int64_t positions);

 private:
  const std::vector<double> frequencies_;
  std::mutex mutex_;
  std::shared_ptr<const RotaryTable> table_;  // guarded by mutex_; nullptr before the first use
};

// Turns pair (i, i + rotary_size / 2) of every head by position * frequency[i]; entries from rotary_size on stay. rows
// [tokens, heads * head_size], row t at position first_position + t, which the table covers.
void ApplyRotary(const ExecutionContext& context, const RotaryTable& table, int64_t head_size, int64_t first_position,
                 MutableMatrixView rows);

// One slope a head: powers of 2^(-8/n) for the first n heads, n the largest power of two not above `heads`, then every
// other power of 2^(-4/n).
std::vector<float> AlibiSlopes(int64_t heads);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_POSITIONS_H_
