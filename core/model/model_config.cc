#include "core/model/model_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/excerpt.h"
#include "core/base/status.h"
#include "core/model/config_reader.h"

namespace quantd {
namespace {

constexpr int64_t kMaxBlocks = 4096;
constexpr int64_t kMaxWindow = int64_t{1} << 31;  // some files write "no window" as a huge one

// Wide enough for every model, narrow enough that no frequency or scale overflows.
constexpr NumberRange kEpsilons = {1e-30, 1};
constexpr NumberRange kRotaryBases = {1, 1e30};
constexpr NumberRange kFactors = {1e-6, 1e6};
constexpr NumberRange kShares = {0, 1};

absl::Status ReadSizes(const ConfigReader& reader, ModelConfig& config) {
  const Architecture& family = *config.architecture;
  const ConfigKeys& keys = family.keys;
  ASSIGN_OR_RETURN(config.vocabulary_size, reader.Size("vocab_size", std::nullopt));
  ASSIGN_OR_RETURN(config.hidden_size, reader.Size(keys.hidden_size, std::nullopt));
  const std::optional<int64_t> four_times =
      *keys.intermediate_size == '\0' ? std::optional<int64_t>(4 * config.hidden_size) : std::nullopt;
  ASSIGN_OR_RETURN(config.intermediate_size, reader.Size(keys.intermediate_size, four_times));
  ASSIGN_OR_RETURN(const int64_t blocks, reader.Size(keys.blocks, std::nullopt, kMaxBlocks));
  config.blocks = static_cast<int>(blocks);
  ASSIGN_OR_RETURN(config.heads, reader.Size(keys.heads, std::nullopt));
  const int64_t default_kv_heads = family.default_kv_heads != 0 ? family.default_kv_heads : config.heads;
  ASSIGN_OR_RETURN(config.kv_heads, reader.Size(keys.kv_heads, default_kv_heads));
  ASSIGN_OR_RETURN(config.context, reader.Size(keys.context, *keys.context == '\0' ? 0 : 2048));
  ASSIGN_OR_RETURN(config.embedding_size, reader.Size(keys.embedding_size, config.hidden_size));
  ASSIGN_OR_RETURN(config.norm_epsilon, reader.Number(keys.norm_epsilon, family.default_norm_epsilon, kEpsilons));
  return absl::OkStatus();
}

absl::Status ReadHeads(const ConfigReader& reader, ModelConfig& config) {
  if (config.architecture->head_size_free && reader.Has("head_dim")) {
    ASSIGN_OR_RETURN(config.head_size, reader.Size("head_dim", std::nullopt));
  } else if (config.hidden_size % config.heads != 0) {
    return reader.Invalid(absl::StrFormat("field '%s' is %d, which does not divide the hidden size %d",
                                          config.architecture->keys.heads, config.heads, config.hidden_size));
  } else {
    config.head_size = config.hidden_size / config.heads;
  }
  if (config.heads % config.kv_heads != 0) {
    return reader.Invalid(absl::StrFormat("field '%s' is %d, which does not divide the %d heads",
                                          config.architecture->keys.kv_heads, config.kv_heads, config.heads));
  }
  if (config.heads * config.head_size > ConfigReader::kMaxSize) {
    return reader.Invalid(absl::StrFormat("%d heads of 'head_dim' %d are %d columns; the limit is %d", config.heads,
                                          config.head_size, config.heads * config.head_size, ConfigReader::kMaxSize));
  }
  return absl::OkStatus();
}

absl::Status ReadLlama3Scaling(const ConfigReader& rotary, RotaryScaling& scaling) {
  ASSIGN_OR_RETURN(scaling.low_frequency_factor, rotary.Number("low_freq_factor", std::nullopt, kFactors));
  ASSIGN_OR_RETURN(scaling.high_frequency_factor, rotary.Number("high_freq_factor", std::nullopt, kFactors));
  ASSIGN_OR_RETURN(scaling.original_context, rotary.Size("original_max_position_embeddings", std::nullopt));
  if (scaling.high_frequency_factor > scaling.low_frequency_factor) return absl::OkStatus();
  return rotary.Invalid(absl::StrFormat("field 'high_freq_factor' is %g; it must be above 'low_freq_factor', %g",
                                        scaling.high_frequency_factor, scaling.low_frequency_factor));
}

// How far positions are stretched. Types whose formulas are not there are refused by name.
absl::Status ReadRotaryScaling(const ConfigReader& rotary, RotaryScaling& scaling) {
  ASSIGN_OR_RETURN(const std::string old_name, rotary.Text("type", "default"));
  ASSIGN_OR_RETURN(scaling.type, rotary.Text("rope_type", old_name));
  if (scaling.type == "default") return absl::OkStatus();
  if (scaling.type != "linear" && scaling.type != "llama3") {
    return rotary.Invalid(
        absl::StrFormat("rope_type '%s' is not supported; known are default, linear, llama3", Excerpt(scaling.type)));
  }
  ASSIGN_OR_RETURN(scaling.factor, rotary.Number("factor", std::nullopt, kFactors));
  return scaling.type == "llama3" ? ReadLlama3Scaling(rotary, scaling) : absl::OkStatus();
}

// The rotated part of a head, from its front.
absl::Status ReadRotarySize(const ConfigReader& reader, double share, ModelConfig& config) {
  config.rotary_size = static_cast<int64_t>(share * static_cast<double>(config.head_size));
  if (config.rotary_size >= 2 && config.rotary_size % 2 == 0) return absl::OkStatus();
  return reader.Invalid(
      absl::StrFormat("rotary positions on %g of a head size of %d would turn %d entries; it must be an even number "
                      "from 2 to the head size",
                      share, config.head_size, config.rotary_size));
}

// Both spellings: "rope_parameters" {rope_theta, rope_type, ...}, or "rope_theta" beside "rope_scaling". The nested
// value wins.
absl::Status ReadRotary(const ConfigReader& reader, const std::string& source, ModelConfig& config) {
  if (config.architecture->position != PositionKind::kRotary) return absl::OkStatus();
  const Json empty = Json::object();
  const Json* nested = &empty;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!reader.Has(key)) continue;
    nested = reader.Find(key);
    if (!nested->is_object()) return reader.Invalid(absl::StrFormat("field '%s' must be an object", key));
  }
  const Architecture& family = *config.architecture;
  const ConfigReader rotary(*nested, source);
  ASSIGN_OR_RETURN(const double base, reader.Number(family.keys.rotary_base, family.default_rotary_base, kRotaryBases));
  ASSIGN_OR_RETURN(config.rotary_base, rotary.Number("rope_theta", base, kRotaryBases));
  RETURN_IF_ERROR(ReadRotaryScaling(rotary, config.rotary_scaling));
  ASSIGN_OR_RETURN(double share, reader.Number(family.keys.rotary_share, family.default_rotary_share, kShares));
  if (*family.keys.rotary_share != '\0') {
    ASSIGN_OR_RETURN(share, rotary.Number("partial_rotary_factor", share, kShares));
  }
  return ReadRotarySize(reader, share, config);
}

// "layer_types" may spell out what the window says; blocks that differ are not supported.
absl::Status CheckLayerTypes(const ConfigReader& reader, const ModelConfig& config) {
  const Json* types = reader.Find("layer_types");
  if (types == nullptr) return absl::OkStatus();
  const char* expected = config.sliding_window > 0 ? "sliding_attention" : "full_attention";
  if (!types->is_array() || static_cast<int64_t>(types->size()) != config.blocks) {
    return reader.Invalid(absl::StrFormat("field 'layer_types' must list %d blocks", config.blocks));
  }
  for (const Json& type : *types) {
    if (type == expected) continue;
    return reader.Invalid(
        absl::StrFormat("field 'layer_types' holds %s; only %s, the same for all blocks, is supported",
                        type.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 40), expected));
  }
  return absl::OkStatus();
}

absl::Status ReadWindow(const ConfigReader& reader, ModelConfig& config) {
  const Architecture& family = *config.architecture;
  const char* key = family.keys.sliding_window;
  if (*key != '\0') {
    if (!reader.Mentions(key)) config.sliding_window = family.default_sliding_window;
    if (reader.Has(key)) {
      ASSIGN_OR_RETURN(config.sliding_window, reader.Size(key, std::nullopt, kMaxWindow));
    }
  }
  return CheckLayerTypes(reader, config);
}

absl::Status ReadActivation(const ConfigReader& reader, ModelConfig& config) {
  const auto& names = config.architecture->activations;
  ASSIGN_OR_RETURN(const std::string name, reader.Text(config.architecture->keys.activation, names[0].name));
  for (const auto& known : names) {
    if (name != known.name) continue;
    config.activation = known.activation;
    return absl::OkStatus();
  }
  return reader.Invalid(absl::StrFormat("field '%s' is '%s', which is not supported for %s; '%s' is",
                                        config.architecture->keys.activation, Excerpt(name),
                                        config.architecture->model_type, names[0].name));
}

absl::Status ReadSwitches(const ConfigReader& reader, ModelConfig& config) {
  const Architecture& family = *config.architecture;
  ASSIGN_OR_RETURN(config.tied_head, reader.Bool("tie_word_embeddings", family.tied_by_default));
  for (const ConfigSwitch& row : family.switches) {
    ASSIGN_OR_RETURN(const bool value, reader.Bool(row.key, row.fallback));
    config.*row.target = value != row.inverted;
  }
  config.final_norm = config.final_norm && config.pre_norm;  // post-norm blocks end normalized
  for (const RequiredSwitch& row : family.required) {
    ASSIGN_OR_RETURN(const bool value, reader.Bool(row.key, row.value));
    if (value == row.value) continue;
    return reader.Invalid(absl::StrFormat("field '%s' is %s, which is not supported for %s", row.key,
                                          value ? "true" : "false", family.model_type));
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> TokenId(const ConfigReader& reader, absl::string_view key, const Json& value) {
  const bool valid = value.is_number_unsigned() && value.get<uint64_t>() < ConfigReader::kMaxSize;
  if (valid) return value.get<int32_t>();
  return reader.Invalid(
      absl::StrFormat("field '%s' must hold token ids from 0 to %d", key, ConfigReader::kMaxSize - 1));
}

// One id or a list of them.
absl::StatusOr<std::vector<int32_t>> TokenIds(const ConfigReader& reader, absl::string_view key) {
  std::vector<int32_t> ids;
  const Json* value = reader.Find(key);
  if (value == nullptr) return ids;
  const Json list = value->is_array() ? *value : Json::array({*value});
  for (const Json& item : list) {
    ASSIGN_OR_RETURN(const int32_t id, TokenId(reader, key, item));
    ids.push_back(id);
  }
  return ids;
}

std::string FirstArchitecture(const Json& json) {
  const auto it = json.find("architectures");
  const bool named = it != json.end() && it->is_array() && !it->empty() && it->front().is_string();
  return named ? it->front().get<std::string>() : "";
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(const Json& json, const std::string& source) {
  const ConfigReader any_family(json, source);
  if (!json.is_object()) return any_family.Invalid("the document must be a JSON object");
  ModelConfig config;
  config.source = source;
  ASSIGN_OR_RETURN(const std::string model_type, any_family.Text("model_type", ""));
  ASSIGN_OR_RETURN(config.architecture, FindArchitecture(model_type, FirstArchitecture(json), source));
  const ConfigReader reader(json, source, config.architecture->aliases);
  if (reader.Has("quantization_config")) {
    return InvalidInput(
        "MODEL_ALREADY_QUANTIZED",
        absl::StrCat(source, ": has a quantization_config: the model is already quantized; give the original"));
  }
  RETURN_IF_ERROR(ReadSizes(reader, config));
  RETURN_IF_ERROR(ReadHeads(reader, config));
  RETURN_IF_ERROR(ReadRotary(reader, source, config));
  RETURN_IF_ERROR(ReadWindow(reader, config));
  RETURN_IF_ERROR(ReadActivation(reader, config));
  RETURN_IF_ERROR(ReadSwitches(reader, config));
  ASSIGN_OR_RETURN(config.eos_ids, TokenIds(reader, "eos_token_id"));
  return config;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const Json json, ReadJsonFile(path));
  return ParseModelConfig(json, path);
}

}  // namespace quantd
