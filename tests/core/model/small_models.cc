#include "tests/core/model/small_models.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/model/tensor_names.h"
#include "tests/testing/random_matrix.h"

namespace quantd {
namespace {

constexpr SmallModel kSmallModels[] = {
    {"llama", R"({"model_type": "llama", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2})"},
    {"llama_biased_tied", R"({"model_type": "llama", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
                  "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1, "attention_bias": true,
                  "mlp_bias": true, "tie_word_embeddings": true})"},
    {"mistral", R"({"model_type": "mistral", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 5})"},
    {"qwen2", R"({"model_type": "qwen2", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2})"},
    {"qwen3", R"({"model_type": "qwen3", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "head_dim": 10,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2})"},
    {"phi3", R"({"model_type": "phi3", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": null})"},
    {"opt", R"({"model_type": "opt", "vocab_size": 50, "hidden_size": 24, "ffn_dim": 40, "num_hidden_layers": 2,
                  "num_attention_heads": 4, "max_position_embeddings": 400})"},
    {"opt_post_norm", R"({"model_type": "opt", "vocab_size": 50, "hidden_size": 24, "ffn_dim": 40,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 400,
                  "do_layer_norm_before": false, "word_embed_proj_dim": 16, "activation_function": "gelu"})"},
    {"opt_plain_norms", R"({"model_type": "opt", "vocab_size": 50, "hidden_size": 24, "ffn_dim": 40,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 400,
                  "layer_norm_elementwise_affine": false, "enable_bias": false, "activation_function": "gelu_new"})"},
    {"bloom", R"({"model_type": "bloom", "vocab_size": 50, "hidden_size": 24, "n_layer": 2, "n_head": 6})"},
    {"gpt_neox", R"({"model_type": "gpt_neox", "vocab_size": 50, "hidden_size": 32, "intermediate_size": 40,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "rotary_pct": 0.25})"},
    {"gpt_neox_sequential", R"({"model_type": "gpt_neox", "vocab_size": 50, "hidden_size": 32, "intermediate_size": 40,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "rotary_pct": 0.5,
                  "use_parallel_residual": false, "hidden_act": "gelu_new"})"},
};

// Tensors of given shapes with random values, f32.
class RandomWeights : public WeightSource {
 public:
  explicit RandomWeights(const ModelConfig& config) {
    uint64_t seed = 1;
    for (const auto& [name, shape] : TensorShapes(config)) {
      const int64_t cols = shape.size() == 2 ? shape[1] : 1;
      const bool embedding = absl::StrContains(name, "embed");
      // Rows of unit variance times a matrix are of the same; norms scatter around 1.
      const float size = shape.size() == 1 ? 0.2f : embedding ? 1.0f : 1.7f / std::sqrt(static_cast<float>(cols));
      Matrix values = RandomMatrix(shape[0], cols, seed++, size);
      const bool norm = shape.size() == 1 && absl::EndsWith(name, ".weight");
      if (norm) {
        for (float& value : values.span()) value += 1;
      }
      tensors_.emplace(name, std::pair(shape, std::move(values)));
    }
  }

  const std::string& path() const override { return path_; }
  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    for (const auto& row : tensors_) names.push_back(row.first);
    return names;
  }
  bool Has(absl::string_view name) const override { return tensors_.find(name) != tensors_.end(); }
  absl::StatusOr<std::vector<int64_t>> Shape(absl::string_view name) const override {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) return Missing(name);
    return it->second.first;
  }
  absl::Status ReadRows(absl::string_view name, int64_t first_row, int64_t rows, absl::Span<float> out) const override {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) return Missing(name);
    const Matrix& values = it->second.second;
    std::copy_n(values.row(first_row), rows * values.cols(), out.data());
    return absl::OkStatus();
  }
  absl::StatusOr<Dtype> StoredDtype(absl::string_view) const override { return Dtype::kF32; }
  absl::StatusOr<absl::Span<const char>> StoredTensorBytes(absl::string_view name) const override {
    return Missing(name);
  }
  uint64_t StoredBytes() const override { return 0; }

 private:
  static absl::Status Missing(absl::string_view name) {
    return InvalidInput("TENSOR_MISSING", absl::StrCat("no tensor '", name, "'"));
  }

  const std::string path_ = "random";
  std::map<std::string, std::pair<std::vector<int64_t>, Matrix>, std::less<>> tensors_;
};

}  // namespace

absl::Span<const SmallModel> SmallModels() {
  return kSmallModels;
}

std::unique_ptr<Transformer> OpenSmallModel(const SmallModel& model) {
  ModelConfig config = ParseModelConfig(Json::parse(model.config_json), model.name).value();
  auto weights = std::make_shared<const RandomWeights>(config);
  return Transformer::Create(std::move(config), std::move(weights)).value();
}

TokenSequence RandomTokens(const Transformer& model, int64_t length, uint64_t seed) {
  RandomSequence random(seed);
  for (int i = 0; i < 16; ++i) random.Next();  // small seeds begin alike
  const float vocabulary = static_cast<float>(model.config().vocabulary_size);
  TokenSequence ids;
  for (int64_t t = 0; t < length; ++t) ids.push_back(static_cast<int32_t>((random.Next() + 1) / 2 * vocabulary));
  return ids;
}

}  // namespace quantd
