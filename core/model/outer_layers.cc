// What comes before the first block and after the last: Transformer::Embed, FinalHidden and Logits.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/compute/matmul.h"
#include "core/model/layer_backward.h"
#include "core/model/layer_ops.h"
#include "core/model/tensor_names.h"
#include "core/model/transformer.h"
#include "core/model/weight_loading.h"

namespace quantd {
namespace {

absl::Status CheckPositions(const ModelConfig& config, int64_t first_position, int64_t tokens) {
  // Learned positions end with their table; rotary and ALiBi ones go on, at the caller's risk.
  const bool inside = first_position >= 0 && (config.architecture->position != PositionKind::kLearned ||
                                              first_position + tokens <= config.context);
  if (inside) return absl::OkStatus();
  return InvalidInput("POSITION_OUT_OF_RANGE",
                      absl::StrFormat("%s: positions %d to %d asked for, the model has %d", config.source,
                                      first_position, first_position + tokens - 1, config.context));
}

absl::Status CheckIds(const ModelConfig& config, absl::Span<const int32_t> ids) {
  for (size_t t = 0; t < ids.size(); ++t) {
    if (ids[t] >= 0 && ids[t] < config.vocabulary_size) continue;
    return InvalidInput("TOKEN_OUT_OF_RANGE", absl::StrFormat("%s: token id %d at index %d; the vocabulary has %d",
                                                              config.source, ids[t], t, config.vocabulary_size));
  }
  return absl::OkStatus();
}

// One pass of Embed over its parts.
class Embedder {
 public:
  Embedder(const ExecutionContext& context, const ModelConfig& config, const WeightSource& weights)
      : context_(context), config_(config), family_(*config.architecture), weights_(weights) {}

  absl::Status Run(absl::Span<const int32_t> ids, int64_t first_position, MutableMatrixView hidden) const {
    RETURN_IF_ERROR(AddTokens(ids, hidden));
    if (*family_.positions != '\0') RETURN_IF_ERROR(AddPositions(first_position, hidden));
    if (*family_.embedding_norm != '\0') return Normalize(hidden);
    return absl::OkStatus();
  }

 private:
  std::string Module(const char* name) const { return absl::StrCat(ModulePrefix(config_), name); }

  absl::Status AddTokens(absl::Span<const int32_t> ids, MutableMatrixView hidden) const {
    if (config_.embedding_size == config_.hidden_size) return ReadEmbeddings(ids, hidden);
    Matrix narrow(hidden.rows, config_.embedding_size);
    RETURN_IF_ERROR(ReadEmbeddings(ids, narrow.view()));
    Matrix project_in(config_.hidden_size, config_.embedding_size);
    RETURN_IF_ERROR(
        weights_.ReadRows(Module(family_.project_in) + ".weight", 0, config_.hidden_size, project_in.span()));
    MatMulTransposed(context_, narrow.view(), project_in.view(), hidden);
    return absl::OkStatus();
  }

  absl::Status ReadEmbeddings(absl::Span<const int32_t> ids, MutableMatrixView out) const {
    const std::string name = Module(family_.embedding) + ".weight";
    for (size_t t = 0; t < ids.size(); ++t) {
      RETURN_IF_ERROR(weights_.ReadRows(name, ids[t], 1, out.row_span(static_cast<int64_t>(t))));
    }
    return absl::OkStatus();
  }

  absl::Status AddPositions(int64_t first_position, MutableMatrixView hidden) const {
    Matrix positions(hidden.rows, hidden.cols);
    RETURN_IF_ERROR(weights_.ReadRows(Module(family_.positions) + ".weight", first_position + family_.position_offset,
                                      hidden.rows, positions.span()));
    AddRows(context_, positions.view(), hidden);
    return absl::OkStatus();
  }

  absl::Status Normalize(MutableMatrixView hidden) const {
    ASSIGN_OR_RETURN(const Norm norm, LoadNorm(weights_, config_, Module(family_.embedding_norm)));
    ApplyNorm(context_, {family_.norm, config_.norm_epsilon}, norm, hidden, hidden, hidden.cols);
    return absl::OkStatus();
  }

  const ExecutionContext& context_;
  const ModelConfig& config_;
  const Architecture& family_;
  const WeightSource& weights_;
};

}  // namespace

absl::Status Transformer::Embed(const ExecutionContext& context, absl::Span<const int32_t> ids, int64_t first_position,
                                MutableMatrixView hidden) const {
  RETURN_IF_ERROR(CheckPositions(config_, first_position, hidden.rows));
  RETURN_IF_ERROR(CheckIds(config_, ids));
  return Embedder(context, config_, *weights_).Run(ids, first_position, hidden);
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
  ApplyLinear(context, head.output, final_hidden.view(), logits);
}

void Transformer::BackwardLogits(const ExecutionContext& context, const Head& head, const MatrixView& hidden,
                                 const MatrixView& logits_gradient, MutableMatrixView gradient) const {
  const bool projected = head.project_out.size() > 0;
  Matrix final_gradient(hidden.rows, config_.embedding_size);
  MatMul(context, logits_gradient, head.output.weight.view(), final_gradient.view());
  Matrix normalized_gradient;
  if (projected) {
    normalized_gradient = Matrix(hidden.rows, config_.hidden_size);
    MatMul(context, final_gradient.view(), head.project_out.view(), normalized_gradient.view());
  } else {
    normalized_gradient = std::move(final_gradient);
  }
  if (config_.final_norm) {
    NormBackward(context, {config_.architecture->norm, config_.norm_epsilon}, head.norm, hidden,
                 normalized_gradient.view(), hidden.cols);
  }
  CopyRows(context, normalized_gradient.view(), gradient);
}

}  // namespace quantd
