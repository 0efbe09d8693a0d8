// Transformer::BackwardBlock.
#include <algorithm>
#include <memory>

#include "core/base/status.h"
#include "core/compute/attention_backward.h"
#include "core/model/block_pass.h"
#include "core/model/layer_backward.h"
#include "core/model/tensor_names.h"

namespace quantd {
namespace {

// Goes through a block whose forward pass is on a tape.
class BlockBackward {
 public:
  BlockBackward(const BlockInputs& inputs, const BackwardOptions& options, BlockTape& tape, BlockBuffers& buffers)
      : context_(inputs.context),
        config_(inputs.config),
        family_(*inputs.config.architecture),
        inputs_(inputs),
        options_(options),
        tape_(tape),
        buffers_(buffers) {}

  // The cases of BlockPass::Run, read from the end.
  absl::Status Run(MutableMatrixView gradient) {
    if (config_.parallel_residual) {
      ASSIGN_OR_RETURN(const MutableMatrixView mlp, Mlp(gradient));
      ASSIGN_OR_RETURN(const MutableMatrixView attention, Attention(gradient));
      if (!options_.input_gradient) return absl::OkStatus();
      AddThroughNorm(NormRole::kMlp, mlp, gradient);
      AddThroughNorm(NormRole::kAttention, attention, gradient);
      return absl::OkStatus();
    }
    if (!config_.pre_norm) Denormalize(NormRole::kMlp, gradient);
    ASSIGN_OR_RETURN(const MutableMatrixView mlp, Mlp(gradient));
    AddThroughNorm(NormRole::kMlp, mlp, gradient);
    if (!config_.pre_norm) Denormalize(NormRole::kAttention, gradient);
    ASSIGN_OR_RETURN(const MutableMatrixView attention, Attention(gradient));
    if (options_.input_gradient) AddThroughNorm(NormRole::kAttention, attention, gradient);
    return absl::OkStatus();
  }

 private:
  size_t IndexOf(Role role) const { return static_cast<size_t>(family_.Find(role) - family_.linears.data()); }

  void Denormalize(NormRole role, MutableMatrixView gradient) const {
    const auto index = static_cast<size_t>(role);
    NormBackward(context_, {family_.norm, config_.norm_epsilon}, inputs_.block.norms[index], tape_.norm_inputs[index],
                 gradient, NormSize(config_, role));
  }

  // `branch` is the gradient at a branch's input, behind the norm where there is one.
  void AddThroughNorm(NormRole role, MutableMatrixView branch, MutableMatrixView gradient) const {
    if (config_.pre_norm) Denormalize(role, branch);
    AddRows(context_, branch, gradient);
  }

  absl::Status Observe(Role role, const MatrixView& delta) const {
    if (options_.observer == nullptr) return absl::OkStatus();
    const size_t index = IndexOf(role);
    return options_.observer->OnGradient(inputs_.sites[index], tape_.inputs[index], delta);
  }

  // Gradient at the input of the linear of `role`.
  void Back(Role role, const MatrixView& delta, MutableMatrixView in_gradient, Into into = Into::kReplace) const {
    LinearBackward(context_, inputs_.block.linears[IndexOf(role)], delta, in_gradient, into);
  }

  // ---- The MLP: from the gradient at its output to that at its input.

  absl::StatusOr<MutableMatrixView> Mlp(const MatrixView& delta) {
    RETURN_IF_ERROR(Observe(Role::kDown, delta));
    const MutableMatrixView inner =
        buffers_.Get(BlockBuffers::kActivationGradient, delta.rows, config_.intermediate_size);
    Back(Role::kDown, delta, inner);
    const MutableMatrixView out = buffers_.Get(BlockBuffers::kMlpInputGradient, delta.rows, config_.hidden_size);
    if (tape_.gate.data == nullptr) {
      ActivationBackward(context_, config_.activation, tape_.activation_input, inner);
      RETURN_IF_ERROR(Observe(Role::kUp, inner));
      Back(Role::kUp, inner, out);
      return out;
    }
    GateBackward(context_, config_.activation, inner, tape_.activation_input, tape_.gate, tape_.up);
    if (family_.Find(Role::kFusedGateUp) != nullptr) {
      // The two lie side by side.
      const MatrixView both = {tape_.gate.data, delta.rows, tape_.gate.stride, tape_.gate.stride};
      RETURN_IF_ERROR(Observe(Role::kFusedGateUp, both));
      Back(Role::kFusedGateUp, both, out);
      return out;
    }
    RETURN_IF_ERROR(Observe(Role::kUp, tape_.up));
    RETURN_IF_ERROR(Observe(Role::kGate, tape_.gate));
    Back(Role::kUp, tape_.up, out);
    Back(Role::kGate, tape_.gate, out, Into::kAdd);
    return out;
  }

  // ---- Attention, likewise.

  absl::StatusOr<MutableMatrixView> Attention(const MatrixView& delta) {
    RETURN_IF_ERROR(Observe(Role::kAttentionOut, delta));
    const MutableMatrixView mixed =
        buffers_.Get(BlockBuffers::kMixedGradient, delta.rows, config_.heads * config_.head_size);
    Back(Role::kAttentionOut, delta, mixed);
    const Projections gradients = ProjectionGradients(delta.rows);
    const std::vector<float> slopes = BlockSlopes(config_);
    const Projections& p = tape_.projections;
    CausalAttentionBackward(context_, BlockAttention(config_, slopes), {p.query, p.key, p.value}, mixed,
                            {gradients.query, gradients.key, gradients.value});
    Unposition(gradients);
    return Unproject(gradients);
  }

  // Places for the gradients of q, k and v: within those of the fused matrix where it holds them side by side.
  Projections ProjectionGradients(int64_t rows) {
    const int64_t query_cols = config_.heads * config_.head_size;
    const int64_t key_cols = config_.kv_heads * config_.head_size;
    if (family_.qkv == QkvLayout::kStacked) {
      const MutableMatrixView fused = FusedGradient(rows);
      return {fused.Cols(0, query_cols), fused.Cols(query_cols, key_cols), fused.Cols(query_cols + key_cols, key_cols)};
    }
    return {buffers_.Get(BlockBuffers::kQueryGradient, rows, query_cols),
            buffers_.Get(BlockBuffers::kKeyGradient, rows, key_cols),
            buffers_.Get(BlockBuffers::kValueGradient, rows, key_cols)};
  }

  MutableMatrixView FusedGradient(int64_t rows) {
    return buffers_.Get(BlockBuffers::kFusedQkvGradient, rows,
                        (config_.heads + 2 * config_.kv_heads) * config_.head_size);
  }

  // Back through rotary positions and the norms of q and k.
  void Unposition(const Projections& gradients) const {
    if (inputs_.rotary != nullptr) {
      RotaryBackward(context_, *inputs_.rotary, config_.head_size, gradients.query);
      RotaryBackward(context_, *inputs_.rotary, config_.head_size, gradients.key);
    }
    if (!family_.HasNorm(NormRole::kQueryHead)) return;
    Denormalize(NormRole::kQueryHead, gradients.query);
    Denormalize(NormRole::kKeyHead, gradients.key);
  }

  absl::StatusOr<MutableMatrixView> Unproject(const Projections& gradients) {
    const int64_t rows = gradients.query.rows;
    const MutableMatrixView out = buffers_.Get(BlockBuffers::kAttentionInputGradient, rows, config_.hidden_size);
    if (family_.qkv != QkvLayout::kSeparate) {
      const MutableMatrixView fused = FusedGradient(rows);
      if (family_.qkv == QkvLayout::kPerHead) MergePerHead(gradients, fused);
      RETURN_IF_ERROR(Observe(Role::kFusedQkv, fused));
      if (options_.input_gradient) Back(Role::kFusedQkv, fused, out);
      return out;
    }
    RETURN_IF_ERROR(Observe(Role::kValue, gradients.value));
    RETURN_IF_ERROR(Observe(Role::kKey, gradients.key));
    RETURN_IF_ERROR(Observe(Role::kQuery, gradients.query));
    if (!options_.input_gradient) return out;
    Back(Role::kQuery, gradients.query, out);
    Back(Role::kKey, gradients.key, out, Into::kAdd);
    Back(Role::kValue, gradients.value, out, Into::kAdd);
    return out;
  }

  // Three matrices -> [head][q, k, v][head size].
  void MergePerHead(const Projections& from, MutableMatrixView fused) const {
    const int64_t size = config_.head_size;
    ForRows(context_, fused.rows, [&](int64_t t) {
      for (int64_t head = 0; head < config_.heads; ++head) {
        float* to = fused.row(t) + 3 * head * size;
        std::copy_n(from.query.row(t) + head * size, size, to);
        std::copy_n(from.key.row(t) + head * size, size, to + size);
        std::copy_n(from.value.row(t) + head * size, size, to + 2 * size);
      }
    });
  }

  const ExecutionContext& context_;
  const ModelConfig& config_;
  const Architecture& family_;
  const BlockInputs& inputs_;
  const BackwardOptions& options_;
  BlockTape& tape_;
  BlockBuffers& buffers_;
};

}  // namespace

absl::Status Transformer::BackwardBlock(const ExecutionContext& context, const Block& block,
                                        const BackwardOptions& options, const MatrixView& input,
                                        MutableMatrixView gradient) const {
  std::shared_ptr<const RotaryTable> rotary;
  if (config_.rotary_size > 0) rotary = state_->rotary.Covering(input.rows);
  const ForwardState::BuffersLease buffers = state_->BorrowBuffers();
  const ForwardOptions forward;
  const BlockInputs inputs = {context, config_, block_sites(block.index), block, forward, rotary.get()};
  const MutableMatrixView hidden = buffers->Get(BlockBuffers::kHidden, input.rows, input.cols);
  CopyRows(context, input, hidden);
  BlockTape tape;
  RETURN_IF_ERROR(BlockPass(inputs, *buffers, &tape).Run(hidden));
  return BlockBackward(inputs, options, tape, *buffers).Run(gradient);
}

}  // namespace quantd
