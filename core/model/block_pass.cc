#include "core/model/block_pass.h"

#include <algorithm>
#include <cmath>

#include "core/base/status.h"
#include "core/model/tensor_names.h"

namespace quantd {
namespace {

// Where a norm's input is copied to for a tape.
constexpr BlockBuffers::Name kNormInputs[kNormRoleCount] = {BlockBuffers::kAttentionNormInput,
                                                            BlockBuffers::kMlpNormInput, BlockBuffers::kQueryNormInput,
                                                            BlockBuffers::kKeyNormInput};

}  // namespace

absl::Status BlockPass::Run(MutableMatrixView hidden) {
  if (tape_ != nullptr) tape_->inputs.resize(inputs_.sites.size());
  if (config_.parallel_residual) {
    const MatrixView attention_input = BranchInput(NormRole::kAttention, hidden);
    const MatrixView mlp_input = BranchInput(NormRole::kMlp, hidden);
    RETURN_IF_ERROR(AddAttention(attention_input, hidden));
    return AddMlp(mlp_input, hidden);
  }
  RETURN_IF_ERROR(AddAttention(BranchInput(NormRole::kAttention, hidden), hidden));
  if (!config_.pre_norm) Normalize(NormRole::kAttention, hidden, hidden);
  RETURN_IF_ERROR(AddMlp(BranchInput(NormRole::kMlp, hidden), hidden));
  if (!config_.pre_norm) Normalize(NormRole::kMlp, hidden, hidden);
  return absl::OkStatus();
}

void BlockPass::Normalize(NormRole role, const MatrixView& in, MutableMatrixView out) const {
  const auto index = static_cast<size_t>(role);
  if (tape_ != nullptr) tape_->norm_inputs[index] = Copy(kNormInputs[index], in);
  ApplyNorm(context_, {family_.norm, config_.norm_epsilon}, NormOf(role), in, out, NormSize(config_, role));
}

MatrixView BlockPass::BranchInput(NormRole role, const MatrixView& hidden) {
  const bool attention = role == NormRole::kAttention;
  // Post-norm: a branch reads the residual stream itself, which changes before a backward pass comes.
  if (!config_.pre_norm) {
    if (tape_ == nullptr) return hidden;
    return Copy(attention ? BlockBuffers::kNormalized : BlockBuffers::kNormalizedForMlp, hidden);
  }
  const bool apart = !attention && (config_.parallel_residual || tape_ != nullptr);
  const MutableMatrixView out =
      buffers_.Get(apart ? BlockBuffers::kNormalizedForMlp : BlockBuffers::kNormalized, hidden.rows, hidden.cols);
  Normalize(role, hidden, out);
  return out;
}

// Multiplies by the linear of `role`, after showing its input to the observer.
absl::Status BlockPass::Multiply(Role role, const MatrixView& in, MutableMatrixView out, Into into) {
  const size_t index = IndexOf(role);
  if (options_.observer != nullptr) RETURN_IF_ERROR(options_.observer->OnInput(inputs_.sites[index], in));
  if (tape_ != nullptr) tape_->inputs[index] = in;
  ApplyLinear(context_, inputs_.block.linears[index], in, out, into);
  return absl::OkStatus();
}

MutableMatrixView BlockPass::Copy(BlockBuffers::Name name, const MatrixView& from) const {
  const MutableMatrixView to = buffers_.Get(name, from.rows, from.cols);
  CopyRows(context_, from, to);
  return to;
}

absl::StatusOr<Projections> BlockPass::Project(const MatrixView& in) {
  const int64_t query_cols = config_.heads * config_.head_size;
  const int64_t key_cols = config_.kv_heads * config_.head_size;
  if (family_.qkv == QkvLayout::kStacked) {
    const MutableMatrixView fused = buffers_.Get(BlockBuffers::kFusedQkv, in.rows, query_cols + 2 * key_cols);
    RETURN_IF_ERROR(Multiply(Role::kFusedQkv, in, fused));
    return Projections{fused.Cols(0, query_cols), fused.Cols(query_cols, key_cols),
                       fused.Cols(query_cols + key_cols, key_cols)};
  }
  const Projections p{buffers_.Get(BlockBuffers::kQuery, in.rows, query_cols),
                      buffers_.Get(BlockBuffers::kKey, in.rows, key_cols),
                      buffers_.Get(BlockBuffers::kValue, in.rows, key_cols)};
  if (family_.qkv == QkvLayout::kPerHead) {
    const MutableMatrixView fused = buffers_.Get(BlockBuffers::kFusedQkv, in.rows, 3 * query_cols);
    RETURN_IF_ERROR(Multiply(Role::kFusedQkv, in, fused));
    SplitPerHead(fused, p);
    return p;
  }
  RETURN_IF_ERROR(Multiply(Role::kQuery, in, p.query));
  RETURN_IF_ERROR(Multiply(Role::kKey, in, p.key));
  RETURN_IF_ERROR(Multiply(Role::kValue, in, p.value));
  return p;
}

// [head][q, k, v][head size] -> three matrices.
void BlockPass::SplitPerHead(const MatrixView& fused, const Projections& p) const {
  const int64_t size = config_.head_size;
  ForRows(context_, fused.rows, [&](int64_t t) {
    for (int64_t head = 0; head < config_.heads; ++head) {
      const float* from = fused.row(t) + 3 * head * size;
      std::copy_n(from, size, p.query.row(t) + head * size);
      std::copy_n(from + size, size, p.key.row(t) + head * size);
      std::copy_n(from + 2 * size, size, p.value.row(t) + head * size);
    }
  });
}

// Norms of q and k per head, then rotary positions.
void BlockPass::Position(const Projections& p) const {
  if (family_.HasNorm(NormRole::kQueryHead)) {
    Normalize(NormRole::kQueryHead, p.query, p.query);
    Normalize(NormRole::kKeyHead, p.key, p.key);
  }
  if (inputs_.rotary == nullptr) return;
  ApplyRotary(context_, *inputs_.rotary, config_.head_size, options_.first_position, p.query);
  ApplyRotary(context_, *inputs_.rotary, config_.head_size, options_.first_position, p.key);
}

// With a cache: appends this block's keys and values and gives views of all of them.
std::pair<MatrixView, MatrixView> BlockPass::KeysAndValues(const Projections& p) const {
  if (options_.cache == nullptr) return {p.key, p.value};
  const MutableMatrixView keys = options_.cache->keys(inputs_.block.index);
  const MutableMatrixView values = options_.cache->values(inputs_.block.index);
  for (int64_t t = 0; t < p.key.rows; ++t) {
    std::copy_n(p.key.row(t), p.key.cols, keys.row(options_.first_position + t));
    std::copy_n(p.value.row(t), p.value.cols, values.row(options_.first_position + t));
  }
  return {keys, values};
}

// hidden += attention(in).
absl::Status BlockPass::AddAttention(const MatrixView& in, MutableMatrixView hidden) {
  ASSIGN_OR_RETURN(const Projections p, Project(in));
  Position(p);
  if (tape_ != nullptr) tape_->projections = p;
  const auto [keys, values] = KeysAndValues(p);
  const std::vector<float> slopes = BlockSlopes(config_);
  AttentionOptions options = BlockAttention(config_, slopes);
  if (options_.cache != nullptr) options.first_position = options_.first_position;
  const MutableMatrixView mixed = buffers_.Get(BlockBuffers::kMixed, in.rows, p.query.cols);
  CausalAttention(context_, options, p.query, keys, values, mixed);
  return Multiply(Role::kAttentionOut, mixed, hidden, Into::kAdd);
}

// hidden += mlp(in).
absl::Status BlockPass::AddMlp(const MatrixView& in, MutableMatrixView hidden) {
  const int64_t size = config_.intermediate_size;
  if (family_.Find(Role::kFusedGateUp) != nullptr) {
    const MutableMatrixView both = buffers_.Get(BlockBuffers::kGate, in.rows, 2 * size);
    RETURN_IF_ERROR(Multiply(Role::kFusedGateUp, in, both));
    Gate(both.Cols(0, size), both.Cols(size, size));
    return Down(both.Cols(0, size), hidden);
  }
  const MutableMatrixView up = buffers_.Get(BlockBuffers::kUp, in.rows, size);
  if (family_.Find(Role::kGate) == nullptr) {
    RETURN_IF_ERROR(Multiply(Role::kUp, in, up));
    if (tape_ != nullptr) tape_->activation_input = Copy(BlockBuffers::kActivationInput, up);
    ApplyActivation(context_, config_.activation, up);
    return Down(up, hidden);
  }
  const MutableMatrixView gate = buffers_.Get(BlockBuffers::kGate, in.rows, size);
  RETURN_IF_ERROR(Multiply(Role::kGate, in, gate));
  RETURN_IF_ERROR(Multiply(Role::kUp, in, up));
  Gate(gate, up);
  return Down(gate, hidden);
}

absl::Status BlockPass::Down(const MatrixView& in, MutableMatrixView hidden) {
  // The block's output is no part of its backward pass, unless a norm follows.
  if (tape_ != nullptr && config_.pre_norm) {
    tape_->inputs[IndexOf(Role::kDown)] = in;
    return absl::OkStatus();
  }
  return Multiply(Role::kDown, in, hidden, Into::kAdd);
}

// gate = activation(gate) * up.
void BlockPass::Gate(MutableMatrixView gate, MutableMatrixView up) const {
  if (tape_ != nullptr) {
    tape_->activation_input = Copy(BlockBuffers::kActivationInput, gate);
    tape_->gate = gate;
    tape_->up = up;
  }
  ApplyGate(context_, config_.activation, gate, up);
}

AttentionOptions BlockAttention(const ModelConfig& config, absl::Span<const float> slopes) {
  return {.heads = config.heads,
          .kv_heads = config.kv_heads,
          .head_size = config.head_size,
          .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_size))),
          .window = config.sliding_window,
          .slopes = slopes};
}

std::vector<float> BlockSlopes(const ModelConfig& config) {
  if (config.architecture->position != PositionKind::kAlibi) return {};
  return AlibiSlopes(config.heads);
}

}  // namespace quantd
