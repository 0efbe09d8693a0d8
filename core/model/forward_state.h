// What a Transformer keeps from one forward pass to the next beside its weights: rotary tables and buffers.
// Thread-safe.
#ifndef QUANTD_CORE_MODEL_FORWARD_STATE_H_
#define QUANTD_CORE_MODEL_FORWARD_STATE_H_

#include <memory>
#include <mutex>
#include <vector>

#include "core/model/positions.h"
#include "core/model/transformer.h"
#include "core/tensor/matrix.h"

namespace quantd {

// Intermediate results of one block. Fresh memory for each would be mapped and zeroed by the kernel every time, a tenth
// of a short pass.
class BlockBuffers {
 public:
  enum Name {
    kNormalized,
    kNormalizedForMlp,
    kQuery,
    kKey,
    kValue,
    kFusedQkv,
    kMixed,
    kGate,
    kUp,
    // For a backward pass: the residual stream, what would have been overwritten, and gradients.
    kHidden,
    kAttentionNormInput,
    kMlpNormInput,
    kQueryNormInput,
    kKeyNormInput,
    kActivationInput,
    kAttentionInputGradient,
    kMlpInputGradient,
    kQueryGradient,
    kKeyGradient,
    kValueGradient,
    kFusedQkvGradient,
    kMixedGradient,
    kActivationGradient,
    kCount
  };

  // [rows, cols], contents undefined. The view of the same name taken before is void.
  MutableMatrixView Get(Name name, int64_t rows, int64_t cols);

 private:
  Matrix matrices_[kCount];
};

struct Transformer::ForwardState {
  explicit ForwardState(const ModelConfig& config) : rotary(config) {}

  // Buffers for one pass; given back when the pointer goes.
  struct Return {
    ForwardState* state;
    void operator()(BlockBuffers* buffers) const;
  };
  using BuffersLease = std::unique_ptr<BlockBuffers, Return>;
  BuffersLease BorrowBuffers();

  RotaryTables rotary;

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<BlockBuffers>> free_;  // guarded by mutex_
};

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_FORWARD_STATE_H_
