// Embedding, block and head of Transformer.
#include <cmath>
#include <cstring>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/compute/attention.h"
#include "core/compute/matmul.h"
#include "core/model/layer_ops.h"
#include "core/model/positions.h"
#include "core/model/tensor_names.h"
#include "core/model/transformer.h"

namespace quantd {
namespace {

// One pass of one sequence through one block.
class BlockPass {
 public:
  BlockPass(const ExecutionContext& context, const ModelConfig& config, absl::Span<const LinearSite> sites,
            const Block& block, const ForwardOptions& options)
      : context_(context),
        config_(config),
        family_(*config.architecture),
        sites_(sites),
        block_(block),
        options_(options) {}

  absl::Status Run(MutableMatrixView hidden) {
    RETURN_IF_ERROR(Residual(NormRole::kAttention, hidden,
                             [&](const MatrixView& in, MutableMatrixView out) { return Attention(in, out); }));
    return Residual(NormRole::kMlp, hidden, [&](const MatrixView& in, MutableMatrixView out) { return Mlp(in, out); });
  }

 private:
  const Norm& NormOf(NormRole role) const { return block_.norms[static_cast<size_t>(role)]; }

  void Normalize(NormRole role, const MatrixView& in, MutableMatrixView out) const {
    ApplyNorm(context_, {family_.norm, config_.norm_epsilon}, NormOf(role), in, out, NormSize(config_, role));
  }

  // Pre-norm: hidden += branch(norm(hidden)).  Post-norm: hidden = norm(hidden + branch(hidden)).
  template <typename Branch>
  absl::Status Residual(NormRole role, MutableMatrixView hidden, const Branch& branch) {
    Matrix out(hidden.rows, hidden.cols);
    if (config_.pre_norm) {
      Matrix normalized(hidden.rows, hidden.cols);
      Normalize(role, hidden, normalized.view());
      RETURN_IF_ERROR(branch(normalized.view(), out.view()));
    } else {
      RETURN_IF_ERROR(branch(hidden, out.view()));
    }
    AddRows(context_, out.view(), hidden);
    if (!config_.pre_norm) Normalize(role, hidden, hidden);
    return absl::OkStatus();
  }

  // Multiplies by the linear of `role`, after showing its input to the observer.
  absl::Status Multiply(Role role, const MatrixView& in, MutableMatrixView out) {
    const size_t index = static_cast<size_t>(family_.Find(role) - family_.linears.data());
    if (options_.observer != nullptr) RETURN_IF_ERROR(options_.observer->OnInput(sites_[index], in));
    ApplyLinear(context_, block_.linears[index], in, out);
    return absl::OkStatus();
  }

  struct Projections {
    Matrix query, key, value;
  };

  absl::StatusOr<Projections> Project(const MatrixView& in) {
    Projections p{Matrix(in.rows, config_.heads * config_.head_size),
                  Matrix(in.rows, config_.kv_heads * config_.head_size),
                  Matrix(in.rows, config_.kv_heads * config_.head_size)};
    if (family_.qkv == QkvLayout::kPerHead) {
      Matrix fused(in.rows, 3 * p.query.cols());
      RETURN_IF_ERROR(Multiply(Role::kFusedQkv, in, fused.view()));
      SplitPerHead(fused, p);
      return p;
    }
    RETURN_IF_ERROR(Multiply(Role::kQuery, in, p.query.view()));
    RETURN_IF_ERROR(Multiply(Role::kKey, in, p.key.view()));
    RETURN_IF_ERROR(Multiply(Role::kValue, in, p.value.view()));
    return p;
  }

  // [head][q, k, v][head size] -> three matrices.
  void SplitPerHead(const Matrix& fused, Projections& p) const {
    const size_t bytes = static_cast<size_t>(config_.head_size) * sizeof(float);
    for (int64_t t = 0; t < fused.rows(); ++t) {
      for (int64_t head = 0; head < config_.heads; ++head) {
        const float* from = fused.row(t) + 3 * head * config_.head_size;
        const int64_t to = head * config_.head_size;
        std::memcpy(p.query.row(t) + to, from, bytes);
        std::memcpy(p.key.row(t) + to, from + config_.head_size, bytes);
        std::memcpy(p.value.row(t) + to, from + 2 * config_.head_size, bytes);
      }
    }
  }

  void Position(Projections& p) const {
    if (!NormOf(NormRole::kQueryHead).weight.empty()) {
      Normalize(NormRole::kQueryHead, p.query.view(), p.query.view());
      Normalize(NormRole::kKeyHead, p.key.view(), p.key.view());
    }
    if (family_.position != PositionKind::kRotary) return;
    const std::vector<double> frequencies = RotaryFrequencies(config_);
    ApplyRotary(context_, frequencies, options_.first_position, p.query.view());
    ApplyRotary(context_, frequencies, options_.first_position, p.key.view());
  }

  // With a cache: appends this block's keys and values and gives views of all of them.
  std::pair<MatrixView, MatrixView> KeysAndValues(const Projections& p) const {
    if (options_.cache == nullptr) return {p.key.view(), p.value.view()};
    const MutableMatrixView keys = options_.cache->keys(block_.index);
    const MutableMatrixView values = options_.cache->values(block_.index);
    const size_t bytes = static_cast<size_t>(p.key.size()) * sizeof(float);
    std::memcpy(keys.row(options_.first_position), p.key.data(), bytes);
    std::memcpy(values.row(options_.first_position), p.value.data(), bytes);
    return {keys, values};
  }

  absl::Status Attention(const MatrixView& in, MutableMatrixView out) {
    ASSIGN_OR_RETURN(Projections p, Project(in));
    Position(p);
    const auto [keys, values] = KeysAndValues(p);
    std::vector<float> slopes;
    if (family_.position == PositionKind::kAlibi) slopes = AlibiSlopes(config_.heads);
    Matrix mixed(in.rows, p.query.cols());
    const AttentionOptions options{.heads = config_.heads,
                                   .kv_heads = config_.kv_heads,
                                   .head_size = config_.head_size,
                                   .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_size))),
                                   .first_position = options_.cache == nullptr ? 0 : options_.first_position,
                                   .window = config_.sliding_window,
                                   .slopes = slopes};
    CausalAttention(context_, options, p.query.view(), keys, values, mixed.view());
    return Multiply(Role::kAttentionOut, mixed.view(), out);
  }

  absl::Status Mlp(const MatrixView& in, MutableMatrixView out) {
    Matrix up(in.rows, config_.intermediate_size);
    if (!family_.gated()) {
      RETURN_IF_ERROR(Multiply(Role::kUp, in, up.view()));
      ApplyActivation(context_, config_.activation, up.view());
      return Multiply(Role::kDown, up.view(), out);
    }
    Matrix gate(in.rows, config_.intermediate_size);
    RETURN_IF_ERROR(Multiply(Role::kGate, in, gate.view()));
    RETURN_IF_ERROR(Multiply(Role::kUp, in, up.view()));
    ApplyGate(context_, config_.activation, gate.view(), up.view());
    return Multiply(Role::kDown, gate.view(), out);
  }

  const ExecutionContext& context_;
  const ModelConfig& config_;
  const Architecture& family_;
  absl::Span<const LinearSite> sites_;
  const Block& block_;
  const ForwardOptions& options_;
};

absl::Status CheckPositions(const ModelConfig& config, int64_t first_position, int64_t tokens) {
  // Learned positions end with their table; rotary and ALiBi ones go on, at the caller's risk.
  if (config.architecture->position != PositionKind::kLearned || first_position + tokens <= config.context) {
    return absl::OkStatus();
  }
  return InvalidInput("POSITION_OUT_OF_RANGE", absl::StrFormat("%s: positions up to %d asked for, the model has %d",
                                                               config.source, first_position + tokens, config.context));
}

}  // namespace

absl::Status Transformer::Embed(const ExecutionContext& context, absl::Span<const int32_t> ids, int64_t first_position,
                                MutableMatrixView hidden) const {
  RETURN_IF_ERROR(CheckPositions(config_, first_position, hidden.rows));
  const Architecture& family = *config_.architecture;
  const std::string prefix = ModulePrefix(config_);
  const bool projected = config_.embedding_size != config_.hidden_size;
  Matrix narrow(projected ? hidden.rows : 0, config_.embedding_size);
  const MutableMatrixView embedded = projected ? narrow.view() : hidden;
  const std::string embedding = absl::StrCat(prefix, family.embedding, ".weight");
  for (size_t t = 0; t < ids.size(); ++t) {
    if (ids[t] < 0 || ids[t] >= config_.vocabulary_size) {
      return InvalidInput("TOKEN_OUT_OF_RANGE", absl::StrFormat("%s: token id %d at index %d; the vocabulary has %d",
                                                                config_.source, ids[t], t, config_.vocabulary_size));
    }
    RETURN_IF_ERROR(weights_->ReadRows(embedding, ids[t], 1, embedded.row_span(static_cast<int64_t>(t))));
  }
  if (projected) {
    Linear project_in;
    project_in.weight = Matrix(config_.hidden_size, config_.embedding_size);
    RETURN_IF_ERROR(weights_->ReadRows(absl::StrCat(prefix, family.project_in, ".weight"), 0, config_.hidden_size,
                                       project_in.weight.span()));
    ApplyLinear(context, project_in, narrow.view(), hidden);
  }
  if (*family.positions != '\0') {
    Matrix positions(hidden.rows, hidden.cols);
    RETURN_IF_ERROR(weights_->ReadRows(absl::StrCat(prefix, family.positions, ".weight"),
                                       first_position + family.position_offset, hidden.rows, positions.span()));
    AddRows(context, positions.view(), hidden);
  }
  if (*family.embedding_norm == '\0') return absl::OkStatus();
  Norm norm{std::vector<float>(hidden.cols), std::vector<float>(hidden.cols)};
  const std::string module = absl::StrCat(prefix, family.embedding_norm);
  RETURN_IF_ERROR(weights_->ReadRows(module + ".weight", 0, hidden.cols, absl::MakeSpan(norm.weight)));
  RETURN_IF_ERROR(weights_->ReadRows(module + ".bias", 0, hidden.cols, absl::MakeSpan(norm.bias)));
  ApplyNorm(context, {family.norm, config_.norm_epsilon}, norm, hidden, hidden, hidden.cols);
  return absl::OkStatus();
}

absl::Status Transformer::ForwardBlock(const ExecutionContext& context, const Block& block,
                                       const ForwardOptions& options, MutableMatrixView hidden) const {
  return BlockPass(context, config_, block_sites(block.index), block, options).Run(hidden);
}

Matrix Transformer::FinalHidden(const ExecutionContext& context, const Head& head, const MatrixView& hidden) const {
  Matrix normalized = Matrix::CopyOf(hidden);
  if (config_.final_norm) {
    ApplyNorm(context, {config_.architecture->norm, config_.norm_epsilon}, head.norm, hidden, normalized.view(),
              hidden.cols);
  }
  if (head.project_out.size() == 0) return normalized;
  Matrix projected(hidden.rows, config_.embedding_size);
  MatMulTransposed(context, normalized.view(), head.project_out.view(), projected.view());
  return projected;
}

void Transformer::Logits(const ExecutionContext& context, const Head& head, const MatrixView& hidden,
                         MutableMatrixView logits) const {
  const Matrix final_hidden = FinalHidden(context, head, hidden);
  MatMulTransposed(context, final_hidden.view(), head.weight.view(), logits);
}

}  // namespace quantd
