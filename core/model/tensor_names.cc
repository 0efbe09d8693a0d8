#include "core/model/tensor_names.h"

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr size_t kListedNames = 5;  // in messages

std::string Listed(const std::vector<std::string>& names) {
  const std::vector<std::string> first(names.begin(), names.begin() + std::min(names.size(), kListedNames));
  const std::string list = absl::StrJoin(first, ", ");
  return names.size() > kListedNames ? absl::StrFormat("%s and %d more", list, names.size() - kListedNames) : list;
}

void AddNorm(const ModelConfig& config, const std::string& module, int64_t size, TensorShapeMap& shapes) {
  if (!config.affine_norms) return;
  shapes[module + ".weight"] = {size};
  if (config.architecture->norm == NormKind::kLayer) shapes[module + ".bias"] = {size};
}

void AddBlock(const ModelConfig& config, int block, TensorShapeMap& shapes) {
  const std::string prefix = BlockPrefix(config, block);
  for (const LinearDescriptor& linear : config.architecture->linears) {
    const int64_t rows = DimSize(config, linear.rows);
    shapes[absl::StrCat(prefix, linear.name, ".weight")] = {rows, DimSize(config, linear.cols)};
    if (HasBias(config, linear.bias)) shapes[absl::StrCat(prefix, linear.name, ".bias")] = {rows};
  }
  for (const NormDescriptor& norm : config.architecture->norms) {
    AddNorm(config, absl::StrCat(prefix, norm.name), NormSize(config, norm.role), shapes);
  }
}

bool Ignored(const ModelConfig& config, const std::string& name) {
  for (const char* suffix : config.architecture->ignored_suffixes) {
    if (absl::EndsWith(name, absl::StrCat(".", suffix))) return true;
  }
  return false;
}

// A tied head that is stored all the same must be equal to the embedding.
absl::Status CheckTiedHead(const WeightSource& weights, const ModelConfig& config) {
  const std::string head = absl::StrCat(config.architecture->head, ".weight");
  if (!config.tied_head || !weights.Has(head)) return absl::OkStatus();
  const std::string embedding = absl::StrCat(ModulePrefix(config), config.architecture->embedding, ".weight");
  ASSIGN_OR_RETURN(const auto head_bytes, weights.StoredTensorBytes(head));
  ASSIGN_OR_RETURN(const auto embedding_bytes, weights.StoredTensorBytes(embedding));
  if (head_bytes == embedding_bytes) return absl::OkStatus();
  return InvalidInput("TIED_HEAD_DIFFERS",
                      absl::StrFormat("%s: the configuration ties head and embedding, but '%s' differs from '%s'; set "
                                      "tie_word_embeddings to false",
                                      weights.path(), head, embedding));
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status CheckShapes(const WeightSource& weights, const TensorShapeMap& expected) {
  std::vector<std::string> missing, misshapen;
  for (const auto& [name, shape] : expected) {
    const auto actual = weights.Shape(name);
    if (!actual.ok()) {
      missing.push_back(name);
    } else if (*actual != shape) {
      misshapen.push_back(absl::StrFormat("'%s' is %s and not %s", name, ShapeText(*actual), ShapeText(shape)));
    }
  }
  if (!missing.empty()) {
    return InvalidInput("TENSOR_MISSING", absl::StrFormat("%s: %d tensors that the configuration wants are missing: %s",
                                                          weights.path(), missing.size(), Listed(missing)));
  }
  if (misshapen.empty()) return absl::OkStatus();
  return InvalidInput("TENSOR_WRONG_SHAPE",
                      absl::StrFormat("%s: %d tensors have other shapes than the configuration wants: %s; are "
                                      "config.json and weights of the same model?",
                                      weights.path(), misshapen.size(), Listed(misshapen)));
}

// Element types as stored; a quantized tensor has none and answers for itself.
absl::Status CheckDtypes(const WeightSource& weights, const TensorShapeMap& expected) {
  for (const auto& row : expected) {
    const auto dtype = weights.StoredDtype(row.first);
    if (!dtype.ok() || IsFloat(*dtype)) continue;
    return InvalidInput("TENSOR_WRONG_DTYPE",
                        absl::StrFormat("%s: tensor '%s' is %s; a weight must be F32, F16, BF16 or F64", weights.path(),
                                        row.first, DtypeName(*dtype)));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t DimSize(const ModelConfig& config, Dim dim) {
  switch (dim) {
    case Dim::kHidden:
      return config.hidden_size;
    case Dim::kHeads:
      return config.heads * config.head_size;
    case Dim::kKvHeads:
      return config.kv_heads * config.head_size;
    case Dim::kFusedHeads:
      return (config.heads + 2 * config.kv_heads) * config.head_size;
    case Dim::kIntermediate:
      return config.intermediate_size;
    case Dim::kFusedIntermediate:
      return 2 * config.intermediate_size;
  }
  return 0;
}

bool HasBias(const ModelConfig& config, BiasRule rule) {
  switch (rule) {
    case BiasRule::kNever:
      return false;
    case BiasRule::kAlways:
      return true;
    case BiasRule::kAttentionBias:
      return config.attention_bias;
    case BiasRule::kMlpBias:
      return config.mlp_bias;
  }
  return false;
}

std::string ModulePrefix(const ModelConfig& config) {
  return config.prefix_left_out ? "" : config.architecture->prefix;
}

std::string BlockPrefix(const ModelConfig& config, int block) {
  const std::string with_number = config.architecture->block_prefix;
  const size_t place = with_number.find("%d");
  return absl::StrCat(ModulePrefix(config), with_number.substr(0, place), block, with_number.substr(place + 2));
}

TensorShapeMap TensorShapes(const ModelConfig& config) {
  const Architecture& family = *config.architecture;
  const std::string prefix = ModulePrefix(config);
  TensorShapeMap shapes;
  shapes[absl::StrCat(prefix, family.embedding, ".weight")] = {config.vocabulary_size, config.embedding_size};
  if (*family.positions != '\0') {
    shapes[absl::StrCat(prefix, family.positions, ".weight")] = {config.context + family.position_offset,
                                                                 config.hidden_size};
  }
  if (*family.embedding_norm != '\0')
    AddNorm(config, absl::StrCat(prefix, family.embedding_norm), config.hidden_size, shapes);
  if (config.embedding_size != config.hidden_size) {
    shapes[absl::StrCat(prefix, family.project_in, ".weight")] = {config.hidden_size, config.embedding_size};
    shapes[absl::StrCat(prefix, family.project_out, ".weight")] = {config.embedding_size, config.hidden_size};
  }
  for (int block = 0; block < config.blocks; ++block) AddBlock(config, block, shapes);
  if (config.final_norm) AddNorm(config, absl::StrCat(prefix, family.final_norm), config.hidden_size, shapes);
  if (!config.tied_head) shapes[absl::StrCat(family.head, ".weight")] = {config.vocabulary_size, config.embedding_size};
  return shapes;
}

int64_t NormSize(const ModelConfig& config, NormRole role) {
  return role == NormRole::kQueryHead || role == NormRole::kKeyHead ? config.head_size : config.hidden_size;
}

std::vector<LinearSite> ListSites(const ModelConfig& config) {
  std::vector<LinearSite> sites;
  for (int block = 0; block < config.blocks; ++block) {
    const std::string prefix = BlockPrefix(config, block);
    int index = 0;
    for (const LinearDescriptor& linear : config.architecture->linears) {
      const bool norm_fed = config.pre_norm && *linear.norm != '\0';
      sites.push_back({.name = absl::StrCat(prefix, linear.name),
                       .block = block,
                       .index = index++,
                       .rows = DimSize(config, linear.rows),
                       .cols = DimSize(config, linear.cols),
                       .input_group = linear.input_group,
                       .scheme_group = linear.scheme_group,
                       .norm = norm_fed ? absl::StrCat(prefix, linear.norm) : ""});
    }
  }
  return sites;
}

absl::Status CheckTensors(const WeightSource& weights, ModelConfig& config) {
  const std::string embedding = absl::StrCat(config.architecture->embedding, ".weight");
  config.prefix_left_out = config.architecture->prefix_optional && weights.Has(embedding);
  const TensorShapeMap expected = TensorShapes(config);
  RETURN_IF_ERROR(CheckShapes(weights, expected));
  RETURN_IF_ERROR(CheckDtypes(weights, expected));
  const std::string head = absl::StrCat(config.architecture->head, ".weight");
  std::vector<std::string> unexpected;
  for (const std::string& name : weights.Names()) {
    const bool tied_copy = config.tied_head && name == head;
    if (expected.find(name) == expected.end() && !tied_copy && !Ignored(config, name)) unexpected.push_back(name);
  }
  if (!unexpected.empty()) {
    return InvalidInput("TENSOR_UNEXPECTED", absl::StrFormat("%s: %d tensors do not belong to a %s model of this "
                                                             "configuration: %s",
                                                             weights.path(), unexpected.size(),
                                                             config.architecture->model_type, Listed(unexpected)));
  }
  return CheckTiedHead(weights, config);
}

}  // namespace quantd
