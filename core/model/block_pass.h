// The forward pass of one block, as ForwardBlock runs it and as BackwardBlock repeats it.
#ifndef QUANTD_CORE_MODEL_BLOCK_PASS_H_
#define QUANTD_CORE_MODEL_BLOCK_PASS_H_

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/compute/attention.h"
#include "core/compute/execution_context.h"
#include "core/model/forward_state.h"
#include "core/model/layer_ops.h"
#include "core/model/positions.h"
#include "core/model/transformer.h"

namespace quantd {

// What a pass over one block works with.
struct BlockInputs {
  const ExecutionContext& context;
  const ModelConfig& config;
  absl::Span<const LinearSite> sites;
  const Block& block;
  const ForwardOptions& options;
  const RotaryTable* rotary;  // nullptr: no rotary positions
};

struct Projections {
  MutableMatrixView query, key, value;
};

// What a backward pass needs of the forward pass, in the pass's buffers.
struct BlockTape {
  std::vector<MatrixView> inputs;          // of each linear
  MatrixView norm_inputs[kNormRoleCount];  // copies
  Projections projections;                 // as attention saw them
  MutableMatrixView activation_input;      // of the gate, or of up where there is none; a copy
  MutableMatrixView gate, up;              // activation(gate) * up, and up; where there is a gate
};

class BlockPass {
 public:
  // `tape`: filled in, so that nothing on it is overwritten before the buffers go; `hidden` is then not the block's
  // output at the end. nullptr for a forward pass alone.
  BlockPass(const BlockInputs& inputs, BlockBuffers& buffers, BlockTape* tape = nullptr)
      : context_(inputs.context),
        config_(inputs.config),
        family_(*inputs.config.architecture),
        inputs_(inputs),
        options_(inputs.options),
        buffers_(buffers),
        tape_(tape) {}

  // Sequential, pre-norm:   h += attention(norm h);  h += mlp(norm h).
  // Sequential, post-norm:  h = norm(h + attention(h));  h = norm(h + mlp(h)).
  // Parallel:               h += attention(norm h) + mlp(norm' h).
  absl::Status Run(MutableMatrixView hidden);

 private:
  size_t IndexOf(Role role) const { return static_cast<size_t>(family_.Find(role) - family_.linears.data()); }
  const Norm& NormOf(NormRole role) const { return inputs_.block.norms[static_cast<size_t>(role)]; }
  void Normalize(NormRole role, const MatrixView& in, MutableMatrixView out) const;
  MatrixView BranchInput(NormRole role, const MatrixView& hidden);
  absl::Status Multiply(Role role, const MatrixView& in, MutableMatrixView out, Into into = Into::kReplace);
  MutableMatrixView Copy(BlockBuffers::Name name, const MatrixView& from) const;

  absl::StatusOr<Projections> Project(const MatrixView& in);
  void SplitPerHead(const MatrixView& fused, const Projections& p) const;
  void Position(const Projections& p) const;
  std::pair<MatrixView, MatrixView> KeysAndValues(const Projections& p) const;
  absl::Status AddAttention(const MatrixView& in, MutableMatrixView hidden);
  absl::Status AddMlp(const MatrixView& in, MutableMatrixView hidden);
  absl::Status Down(const MatrixView& in, MutableMatrixView hidden);
  void Gate(MutableMatrixView gate, MutableMatrixView up) const;

  const ExecutionContext& context_;
  const ModelConfig& config_;
  const Architecture& family_;
  const BlockInputs& inputs_;
  const ForwardOptions& options_;
  BlockBuffers& buffers_;
  BlockTape* const tape_;
};

// `slopes` as long as it is used.
AttentionOptions BlockAttention(const ModelConfig& config, absl::Span<const float> slopes);
// Empty where the family has none.
std::vector<float> BlockSlopes(const ModelConfig& config);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_BLOCK_PASS_H_
