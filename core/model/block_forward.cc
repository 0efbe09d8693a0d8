// One block: Transformer::ForwardBlock.
#include <cmath>
#include <cstring>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/compute/attention.h"
#include "core/model/forward_state.h"
#include "core/model/layer_ops.h"
#include "core/model/positions.h"
#include "core/model/tensor_names.h"
#include "core/model/transformer.h"

namespace quantd {
namespace {

// What a pass over one block works with.
struct BlockInputs {
  const ExecutionContext& context;
  const ModelConfig& config;
  absl::Span<const LinearSite> sites;
  const Block& block;
  const ForwardOptions& options;
  const RotaryTable* rotary;  // nullptr: no rotary positions
};

class BlockPass {
 public:
  BlockPass(const BlockInputs& inputs, BlockBuffers& buffers)
      : context_(inputs.context),
        config_(inputs.config),
        family_(*inputs.config.architecture),
        inputs_(inputs),
        options_(inputs.options),
        buffers_(buffers) {}

  // Sequential, pre-norm:   h += attention(norm h);  h += mlp(norm h).
  // Sequential, post-norm:  h = norm(h + attention(h));  h = norm(h + mlp(h)).
  // Parallel:               h += attention(norm h) + mlp(norm' h).
  absl::Status Run(MutableMatrixView hidden) {
    if (config_.parallel_residual) {
      const MatrixView attention_input = Normalized(NormRole::kAttention, BlockBuffers::kNormalized, hidden);
      const MatrixView mlp_input = Normalized(NormRole::kMlp, BlockBuffers::kNormalizedForMlp, hidden);
      RETURN_IF_ERROR(AddAttention(attention_input, hidden));
      return AddMlp(mlp_input, hidden);
    }
    RETURN_IF_ERROR(AddAttention(BranchInput(NormRole::kAttention, hidden), hidden));
    if (!config_.pre_norm) Normalize(NormRole::kAttention, hidden, hidden);
    RETURN_IF_ERROR(AddMlp(BranchInput(NormRole::kMlp, hidden), hidden));
    if (!config_.pre_norm) Normalize(NormRole::kMlp, hidden, hidden);
    return absl::OkStatus();
  }

 private:
  const Norm& NormOf(NormRole role) const { return inputs_.block.norms[static_cast<size_t>(role)]; }

  void Normalize(NormRole role, const MatrixView& in, MutableMatrixView out) const {
    ApplyNorm(context_, {family_.norm, config_.norm_epsilon}, NormOf(role), in, out, NormSize(config_, role));
  }

  MatrixView Normalized(NormRole role, BlockBuffers::Name buffer, const MatrixView& hidden) {
    const MutableMatrixView out = buffers_.Get(buffer, hidden.rows, hidden.cols);
    Normalize(role, hidden, out);
    return out;
  }

  MatrixView BranchInput(NormRole role, const MatrixView& hidden) {
    return config_.pre_norm ? Normalized(role, BlockBuffers::kNormalized, hidden) : hidden;
  }

  // Multiplies by the linear of `role`, after showing its input to the observer.
  absl::Status Multiply(Role role, const MatrixView& in, MutableMatrixView out, Into into = Into::kReplace) {
    const size_t index = static_cast<size_t>(family_.Find(role) - family_.linears.data());
    if (options_.observer != nullptr) RETURN_IF_ERROR(options_.observer->OnInput(inputs_.sites[index], in));
    ApplyLinear(context_, inputs_.block.linears[index], in, out, into);
    return absl::OkStatus();
  }

  struct Projections {
    MutableMatrixView query, key, value;
  };

  absl::StatusOr<Projections> Project(const MatrixView& in) {
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
  void SplitPerHead(const MatrixView& fused, const Projections& p) const {
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
  void Position(const Projections& p) const {
    if (family_.HasNorm(NormRole::kQueryHead)) {
      Normalize(NormRole::kQueryHead, p.query, p.query);
      Normalize(NormRole::kKeyHead, p.key, p.key);
    }
    if (inputs_.rotary == nullptr) return;
    ApplyRotary(context_, *inputs_.rotary, config_.head_size, options_.first_position, p.query);
    ApplyRotary(context_, *inputs_.rotary, config_.head_size, options_.first_position, p.key);
  }

  // With a cache: appends this block's keys and values and gives views of all of them.
  std::pair<MatrixView, MatrixView> KeysAndValues(const Projections& p) const {
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
  absl::Status AddAttention(const MatrixView& in, MutableMatrixView hidden) {
    ASSIGN_OR_RETURN(const Projections p, Project(in));
    Position(p);
    const auto [keys, values] = KeysAndValues(p);
    std::vector<float> slopes;
    if (family_.position == PositionKind::kAlibi) slopes = AlibiSlopes(config_.heads);
    const AttentionOptions options{.heads = config_.heads,
                                   .kv_heads = config_.kv_heads,
                                   .head_size = config_.head_size,
                                   .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_size))),
                                   .first_position = options_.cache == nullptr ? 0 : options_.first_position,
                                   .window = config_.sliding_window,
                                   .slopes = slopes};
    const MutableMatrixView mixed = buffers_.Get(BlockBuffers::kMixed, in.rows, p.query.cols);
    CausalAttention(context_, options, p.query, keys, values, mixed);
    return Multiply(Role::kAttentionOut, mixed, hidden, Into::kAdd);
  }

  // hidden += mlp(in).
  absl::Status AddMlp(const MatrixView& in, MutableMatrixView hidden) {
    const int64_t size = config_.intermediate_size;
    if (family_.Find(Role::kFusedGateUp) != nullptr) {
      const MutableMatrixView both = buffers_.Get(BlockBuffers::kGate, in.rows, 2 * size);
      RETURN_IF_ERROR(Multiply(Role::kFusedGateUp, in, both));
      ApplyGate(context_, config_.activation, both.Cols(0, size), both.Cols(size, size));
      return Multiply(Role::kDown, both.Cols(0, size), hidden, Into::kAdd);
    }
    const MutableMatrixView up = buffers_.Get(BlockBuffers::kUp, in.rows, size);
    if (family_.Find(Role::kGate) == nullptr) {
      RETURN_IF_ERROR(Multiply(Role::kUp, in, up));
      ApplyActivation(context_, config_.activation, up);
      return Multiply(Role::kDown, up, hidden, Into::kAdd);
    }
    const MutableMatrixView gate = buffers_.Get(BlockBuffers::kGate, in.rows, size);
    RETURN_IF_ERROR(Multiply(Role::kGate, in, gate));
    RETURN_IF_ERROR(Multiply(Role::kUp, in, up));
    ApplyGate(context_, config_.activation, gate, up);
    return Multiply(Role::kDown, gate, hidden, Into::kAdd);
  }

  const ExecutionContext& context_;
  const ModelConfig& config_;
  const Architecture& family_;
  const BlockInputs& inputs_;
  const ForwardOptions& options_;
  BlockBuffers& buffers_;
};

absl::Status CheckCache(const ForwardOptions& options, int64_t tokens) {
  const KvCache* cache = options.cache;
  if (cache == nullptr) return absl::OkStatus();
  if (options.first_position != cache->length()) {
    return absl::InternalError(absl::StrFormat("position %d does not follow the %d tokens of the cache",
                                               options.first_position, cache->length()));
  }
  if (tokens <= cache->capacity() - cache->length()) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kOutOfRange, "CACHE_FULL",
                     absl::StrFormat("the cache of keys and values holds %d of %d tokens and cannot take %d more",
                                     cache->length(), cache->capacity(), tokens));
}

}  // namespace

absl::Status Transformer::ForwardBlock(const ExecutionContext& context, const Block& block,
                                       const ForwardOptions& options, MutableMatrixView hidden) const {
  RETURN_IF_ERROR(CheckCache(options, hidden.rows));
  std::shared_ptr<const RotaryTable> rotary;
  if (config_.rotary_size > 0) rotary = state_->rotary.Covering(options.first_position + hidden.rows);
  const ForwardState::BuffersLease buffers = state_->BorrowBuffers();
  const BlockInputs inputs = {context, config_, block_sites(block.index), block, options, rotary.get()};
  return BlockPass(inputs, *buffers).Run(hidden);
}

}  // namespace quantd
