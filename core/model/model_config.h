// config.json, read into one neutral description. What the families call things is in core/model/families.cc.
#ifndef QUANTD_CORE_MODEL_MODEL_CONFIG_H_
#define QUANTD_CORE_MODEL_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/json.h"
#include "core/model/architecture.h"

namespace quantd {

struct RotaryScaling {
  std::string type = "default";  // default, linear, llama3
  double factor = 1;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  int64_t original_context = 8192;
};

struct ModelConfig {
  const Architecture* architecture = nullptr;
  std::string source;  // the file, for messages
  int64_t vocabulary_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int blocks = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_size = 0;
  int64_t rotary_size = 0;     // entries of a head that rotary positions turn, from the front; 0: none
  int64_t context = 0;         // max_position_embeddings; 0: no limit (ALiBi)
  int64_t embedding_size = 0;  // = hidden_size unless projected (OPT-350M)
  double norm_epsilon = 1e-5;
  double rotary_base = 10000;
  RotaryScaling rotary_scaling;
  int64_t sliding_window = 0;  // 0: none
  bool tied_head = false;
  bool pre_norm = true;            // OPT: do_layer_norm_before
  bool parallel_residual = false;  // attention and MLP both read the block's input (gpt_neox)
  bool prefix_left_out = false;    // the files spell tensor names without the family's prefix
  bool final_norm = true;
  bool affine_norms = true;  // OPT: layer_norm_elementwise_affine
  Activation activation = Activation::kSilu;
  bool attention_bias = false;  // on q, k, v (and o where the family says so)
  bool mlp_bias = false;
  std::vector<int32_t> eos_ids;
};

// Reasons: CONFIG_INVALID (names the field, its value and the limit), ARCHITECTURE_UNKNOWN, MODEL_ALREADY_QUANTIZED;
// those of ReadJsonFile.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& path);
absl::StatusOr<ModelConfig> ParseModelConfig(const Json& json, const std::string& source);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_MODEL_CONFIG_H_
