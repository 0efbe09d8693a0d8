#include "core/model/model_config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/model/architecture.h"

namespace quantd {
namespace {

constexpr int64_t kMaxSize = 1 << 24;
constexpr int64_t kMaxBlocks = 4096;

absl::Status Invalid(const std::string& source, absl::string_view why) {
  return InvalidInput("CONFIG_INVALID", absl::StrCat(source, ": ", why));
}

// A config error whatever the lower layer called it.
absl::Status AsConfigError(const absl::Status& status) {
  return InvalidInput("CONFIG_INVALID", status.message());
}

class ConfigReader {
 public:
  ConfigReader(const Json& json, const std::string& source) : json_(json), source_(source) {}

  absl::StatusOr<int64_t> Size(const char* key, int64_t fallback, int64_t limit = kMaxSize) const {
    if (*key == '\0') return fallback;
    const auto value = fallback == 0 ? JsonInt(json_, key, source_) : JsonIntOr(json_, key, fallback, source_);
    if (!value.ok()) return AsConfigError(value.status());
    if (*value < 1 || *value > limit) {
      return Invalid(source_, absl::StrFormat("field '%s' is %d; it must be 1 to %d", key, *value, limit));
    }
    return *value;
  }
  absl::StatusOr<bool> Bool(const char* key, bool fallback) const {
    const auto value = JsonBoolOr(json_, key, fallback, source_);
    if (!value.ok()) return AsConfigError(value.status());
    return *value;
  }
  absl::StatusOr<std::string> Text(const char* key, absl::string_view fallback) const {
    if (*key == '\0') return std::string(fallback);
    const auto value = JsonStringOr(json_, key, fallback, source_);
    if (!value.ok()) return AsConfigError(value.status());
    return *value;
  }
  absl::StatusOr<double> Positive(const Json& object, const char* key, double fallback) const {
    const auto value = JsonDoubleOr(object, key, fallback, source_);
    if (!value.ok()) return AsConfigError(value.status());
    if (!(*value > 0) || !std::isfinite(*value)) {
      return Invalid(source_, absl::StrFormat("field '%s' is %g; it must be positive and finite", key, *value));
    }
    return *value;
  }
  const Json& json() const { return json_; }
  const std::string& source() const { return source_; }
  bool Has(const char* key) const {
    const auto it = json_.find(key);
    return it != json_.end() && !it->is_null();
  }

 private:
  const Json& json_;
  const std::string& source_;
};

absl::Status ReadSizes(const ConfigReader& reader, ModelConfig& config) {
  const Architecture& family = *config.architecture;
  ASSIGN_OR_RETURN(config.vocabulary_size, reader.Size("vocab_size", 0));
  ASSIGN_OR_RETURN(config.hidden_size, reader.Size(family.keys.hidden_size, 0));
  ASSIGN_OR_RETURN(config.intermediate_size, reader.Size(family.keys.intermediate_size,
                                                         *family.keys.intermediate_size ? 0 : 4 * config.hidden_size));
  ASSIGN_OR_RETURN(const int64_t blocks, reader.Size(family.keys.blocks, 0, kMaxBlocks));
  config.blocks = static_cast<int>(blocks);
  ASSIGN_OR_RETURN(config.heads, reader.Size(family.keys.heads, 0));
  const int64_t default_kv_heads = family.default_kv_heads != 0 ? family.default_kv_heads : config.heads;
  ASSIGN_OR_RETURN(config.kv_heads, reader.Size(family.keys.kv_heads, default_kv_heads));
  if (*family.keys.context != '\0') {
    ASSIGN_OR_RETURN(config.context, reader.Size(family.keys.context, 2048));
  }
  config.embedding_size = config.hidden_size;
  if (*family.project_in != '\0') {
    ASSIGN_OR_RETURN(config.embedding_size, reader.Size("word_embed_proj_dim", config.hidden_size));
  }
  return absl::OkStatus();
}

absl::Status ReadHeads(const ConfigReader& reader, ModelConfig& config) {
  const bool explicit_head_size = config.architecture->head_size_free && reader.Has("head_dim");
  if (explicit_head_size) {
    ASSIGN_OR_RETURN(config.head_size, reader.Size("head_dim", 0));
  } else if (config.hidden_size % config.heads != 0) {
    return Invalid(reader.source(), absl::StrFormat("field '%s' is %d, which does not divide the hidden size %d",
                                                    config.architecture->keys.heads, config.heads, config.hidden_size));
  } else {
    config.head_size = config.hidden_size / config.heads;
  }
  if (config.heads % config.kv_heads != 0) {
    return Invalid(reader.source(),
                   absl::StrFormat("field 'num_key_value_heads' is %d, which does not divide the %d heads",
                                   config.kv_heads, config.heads));
  }
  if (config.architecture->position == PositionKind::kRotary && config.head_size % 2 != 0) {
    return Invalid(reader.source(),
                   absl::StrFormat("head size %d is odd; rotary positions need pairs", config.head_size));
  }
  return absl::OkStatus();
}

// Both spellings: "rope_parameters" {rope_theta, rope_type, ...}, or "rope_theta" with "rope_scaling". The nested value
// wins.
absl::Status ReadRotary(const ConfigReader& reader, ModelConfig& config) {
  const Json empty = Json::object();
  const Json* nested = &empty;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!reader.Has(key)) continue;
    nested = &reader.json().at(key);
    if (!nested->is_object()) return Invalid(reader.source(), absl::StrFormat("field '%s' must be an object", key));
  }
  ASSIGN_OR_RETURN(const double outer,
                   reader.Positive(reader.json(), "rope_theta", config.architecture->default_rotary_base));
  ASSIGN_OR_RETURN(config.rotary_base, reader.Positive(*nested, "rope_theta", outer));
  RotaryScaling& scaling = config.rotary_scaling;
  const ConfigReader inner(*nested, reader.source());
  ASSIGN_OR_RETURN(const std::string old_name, inner.Text("type", "default"));
  ASSIGN_OR_RETURN(scaling.type, inner.Text("rope_type", old_name));
  if (scaling.type == "default") return absl::OkStatus();
  if (scaling.type != "linear" && scaling.type != "llama3") {
    return Invalid(reader.source(),
                   absl::StrFormat("rope_type '%s' is not supported; known are default, linear, llama3", scaling.type));
  }
  ASSIGN_OR_RETURN(scaling.factor, reader.Positive(*nested, "factor", 1));
  ASSIGN_OR_RETURN(scaling.low_frequency_factor, reader.Positive(*nested, "low_freq_factor", 1));
  ASSIGN_OR_RETURN(scaling.high_frequency_factor, reader.Positive(*nested, "high_freq_factor", 4));
  ASSIGN_OR_RETURN(scaling.original_context, inner.Size("original_max_position_embeddings", 8192));
  if (scaling.type == "llama3" && scaling.high_frequency_factor <= scaling.low_frequency_factor) {
    return Invalid(reader.source(), "field 'high_freq_factor' must be above 'low_freq_factor'");
  }
  return absl::OkStatus();
}

absl::Status ReadWindow(const ConfigReader& reader, ModelConfig& config) {
  const Architecture& family = *config.architecture;
  const bool absent = reader.json().find("sliding_window") == reader.json().end();
  if (family.sliding_window_by_default) {
    if (absent) config.sliding_window = family.default_sliding_window;
    if (!reader.Has("sliding_window")) return absl::OkStatus();
    ASSIGN_OR_RETURN(config.sliding_window, reader.Size("sliding_window", 0));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const bool use, reader.Bool("use_sliding_window", false));
  if (!use) return absl::OkStatus();
  return Invalid(reader.source(),
                 absl::StrFormat("use_sliding_window is not supported for %s: every layer must attend to "
                                 "the full context",
                                 family.model_type));
}

absl::Status ReadActivation(const ConfigReader& reader, ModelConfig& config) {
  const auto& names = config.architecture->activations;
  ASSIGN_OR_RETURN(const std::string name, reader.Text(config.architecture->keys.activation, names[0].name));
  for (const auto& known : names) {
    if (name == known.name) {
      config.activation = known.activation;
      return absl::OkStatus();
    }
  }
  return Invalid(reader.source(), absl::StrFormat("activation '%s' is not supported for %s; '%s' is", name,
                                                  config.architecture->model_type, names[0].name));
}

absl::Status ReadSwitches(const ConfigReader& reader, ModelConfig& config) {
  const Architecture& family = *config.architecture;
  const bool is_opt = family.position == PositionKind::kLearned;
  ASSIGN_OR_RETURN(config.tied_head, reader.Bool("tie_word_embeddings", family.tied_by_default));
  if (is_opt) {
    ASSIGN_OR_RETURN(config.attention_bias, reader.Bool("enable_bias", true));
    config.mlp_bias = config.attention_bias;
    ASSIGN_OR_RETURN(config.pre_norm, reader.Bool("do_layer_norm_before", true));
    ASSIGN_OR_RETURN(const bool removed, reader.Bool("_remove_final_layer_norm", false));
    ASSIGN_OR_RETURN(config.affine_norms, reader.Bool("layer_norm_elementwise_affine", true));
    config.final_norm = config.pre_norm && !removed;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(config.attention_bias, reader.Bool("attention_bias", false));
  ASSIGN_OR_RETURN(config.mlp_bias, reader.Bool("mlp_bias", false));
  if (*family.embedding_norm == '\0') return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool residual_after_norm, reader.Bool("apply_residual_connection_post_layernorm", false));
  if (!residual_after_norm) return absl::OkStatus();
  return Invalid(reader.source(), "apply_residual_connection_post_layernorm is not supported");
}

absl::Status ReadSpecialIds(const ConfigReader& reader, ModelConfig& config) {
  const auto read = [&](const Json& value, std::vector<int32_t>& out) {
    const bool in_range = value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() < kMaxSize;
    if (in_range) out.push_back(value.get<int32_t>());
  };
  std::vector<int32_t> bos;
  if (reader.Has("bos_token_id")) read(reader.json().at("bos_token_id"), bos);
  if (!bos.empty()) config.bos_id = bos[0];
  if (!reader.Has("eos_token_id")) return absl::OkStatus();
  const Json& eos = reader.json().at("eos_token_id");
  if (!eos.is_array()) read(eos, config.eos_ids);
  if (eos.is_array()) {
    for (const Json& id : eos) read(id, config.eos_ids);
  }
  return absl::OkStatus();
}

std::string FirstArchitecture(const Json& json) {
  const auto it = json.find("architectures");
  const bool named = it != json.end() && it->is_array() && !it->empty() && it->front().is_string();
  return named ? it->front().get<std::string>() : "";
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(const Json& json, const std::string& source) {
  if (!json.is_object()) return Invalid(source, "not a JSON object");
  const ConfigReader reader(json, source);
  ModelConfig config;
  config.source = source;
  ASSIGN_OR_RETURN(const std::string model_type, reader.Text("model_type", ""));
  ASSIGN_OR_RETURN(config.architecture, FindArchitecture(model_type, FirstArchitecture(json), source));
  if (reader.Has("quantization_config")) {
    return InvalidInput(
        "MODEL_ALREADY_QUANTIZED",
        absl::StrCat(source, ": has a quantization_config: the model is already quantized; give the original"));
  }
  RETURN_IF_ERROR(ReadSizes(reader, config));
  RETURN_IF_ERROR(ReadHeads(reader, config));
  ASSIGN_OR_RETURN(const double epsilon, reader.Positive(json, config.architecture->keys.norm_epsilon,
                                                         config.architecture->default_norm_epsilon));
  config.norm_epsilon = epsilon;
  if (config.architecture->position == PositionKind::kRotary) RETURN_IF_ERROR(ReadRotary(reader, config));
  RETURN_IF_ERROR(ReadWindow(reader, config));
  RETURN_IF_ERROR(ReadActivation(reader, config));
  RETURN_IF_ERROR(ReadSwitches(reader, config));
  RETURN_IF_ERROR(ReadSpecialIds(reader, config));
  return config;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const Json json, ReadJsonFile(path));
  return ParseModelConfig(json, path);
}

}  // namespace quantd
