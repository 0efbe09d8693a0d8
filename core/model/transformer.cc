#include "core/model/transformer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/status.h"
#include "core/model/forward_state.h"
#include "core/model/tensor_names.h"
#include "core/model/weight_loading.h"

namespace quantd {

KvCache::KvCache(const ModelConfig& config, int64_t capacity_tokens) : capacity_(capacity_tokens) {
  for (int block = 0; block < config.blocks; ++block) {
    keys_.emplace_back(capacity_tokens, config.kv_heads * config.head_size);
    values_.emplace_back(capacity_tokens, config.kv_heads * config.head_size);
  }
}

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Open(const std::string& folder,
                                                               std::shared_ptr<const WeightSource> weights) {
  ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(JoinPath(folder, "config.json")));
  return Create(std::move(config), std::move(weights));
}

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Create(ModelConfig config,
                                                                 std::shared_ptr<const WeightSource> weights) {
  RETURN_IF_ERROR(CheckTensors(*weights, config));
  auto model = std::unique_ptr<Transformer>(new Transformer);
  model->config_ = std::move(config);
  model->weights_ = std::move(weights);
  model->state_ = std::make_unique<ForwardState>(model->config_);
  model->sites_ = ListSites(model->config_);
  return model;
}

Transformer::Transformer() = default;
Transformer::~Transformer() = default;

absl::Span<const LinearSite> Transformer::block_sites(int block) const {
  const size_t per_block = config_.architecture->linears.size();
  return absl::MakeConstSpan(sites_).subspan(static_cast<size_t>(block) * per_block, per_block);
}

absl::StatusOr<Block> Transformer::LoadBlock(int index, WeightForm form) const {
  Block block;
  block.index = index;
  const std::string prefix = BlockPrefix(config_, index);
  for (const LinearDescriptor& descriptor : config_.architecture->linears) {
    ASSIGN_OR_RETURN(Linear linear, LoadLinear(*weights_, absl::StrCat(prefix, descriptor.name, ".weight"), form));
    if (HasBias(config_, descriptor.bias)) {
      ASSIGN_OR_RETURN(linear.bias, LoadVector(*weights_, absl::StrCat(prefix, descriptor.name, ".bias")));
    }
    block.linears.push_back(std::move(linear));
  }
  block.norms.resize(kNormRoleCount);
  for (const NormDescriptor& descriptor : config_.architecture->norms) {
    ASSIGN_OR_RETURN(block.norms[static_cast<size_t>(descriptor.role)],
                     LoadNorm(*weights_, config_, absl::StrCat(prefix, descriptor.name)));
  }
  return block;
}

absl::StatusOr<Head> Transformer::LoadHead(WeightForm form) const {
  const Architecture& family = *config_.architecture;
  const std::string prefix = ModulePrefix(config_);
  Head head;
  if (config_.final_norm) {
    ASSIGN_OR_RETURN(head.norm, LoadNorm(*weights_, config_, absl::StrCat(prefix, family.final_norm)));
  }
  if (config_.embedding_size != config_.hidden_size) {
    ASSIGN_OR_RETURN(head.project_out, LoadMatrix(*weights_, absl::StrCat(prefix, family.project_out, ".weight")));
  }
  const std::string module = config_.tied_head ? absl::StrCat(prefix, family.embedding) : family.head;
  ASSIGN_OR_RETURN(head.output, LoadLinear(*weights_, module + ".weight", form));
  return head;
}

}  // namespace quantd
