#include "core/model/architecture.h"

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace quantd {
namespace {

using ActivationName = Architecture::ActivationName;

constexpr ActivationName kSiluOnly[] = {{"silu", Activation::kSilu}, {"swish", Activation::kSilu}};
constexpr ActivationName kOptActivations[] = {
    {"relu", Activation::kRelu}, {"gelu", Activation::kGeluErf}, {"gelu_new", Activation::kGeluTanh}};
constexpr ActivationName kBloomActivations[] = {{"gelu", Activation::kGeluTanh}};

// llama, mistral, qwen2, qwen3: gated MLP behind two norms, q, k, v, o with the family's bias rules.
constexpr LinearDescriptor LlamaLinear(Role role, const char* name, Dim rows, Dim cols, BiasRule bias) {
  const bool attention_input = role == Role::kQuery || role == Role::kKey || role == Role::kValue;
  const bool mlp_input = role == Role::kGate || role == Role::kUp;
  const int group = attention_input ? 0 : role == Role::kAttentionOut ? 1 : mlp_input ? 2 : 3;
  return {role,
          name,
          rows,
          cols,
          bias,
          group,
          attention_input ? "qkv"
          : mlp_input     ? "gate_up"
                          : "",
          attention_input ? "input_layernorm"
          : mlp_input     ? "post_attention_layernorm"
                          : ""};
}

struct LlamaLinears {
  LinearDescriptor rows[7];
};
constexpr LlamaLinears MakeLlamaLinears(BiasRule qkv, BiasRule out, BiasRule mlp) {
  return {{LlamaLinear(Role::kQuery, "self_attn.q_proj", Dim::kHeads, Dim::kHidden, qkv),
           LlamaLinear(Role::kKey, "self_attn.k_proj", Dim::kKvHeads, Dim::kHidden, qkv),
           LlamaLinear(Role::kValue, "self_attn.v_proj", Dim::kKvHeads, Dim::kHidden, qkv),
           LlamaLinear(Role::kAttentionOut, "self_attn.o_proj", Dim::kHidden, Dim::kHeads, out),
           LlamaLinear(Role::kGate, "mlp.gate_proj", Dim::kIntermediate, Dim::kHidden, mlp),
           LlamaLinear(Role::kUp, "mlp.up_proj", Dim::kIntermediate, Dim::kHidden, mlp),
           LlamaLinear(Role::kDown, "mlp.down_proj", Dim::kHidden, Dim::kIntermediate, mlp)}};
}
constexpr LlamaLinears kLlamaLinears =
    MakeLlamaLinears(BiasRule::kAttentionBias, BiasRule::kAttentionBias, BiasRule::kMlpBias);
constexpr LlamaLinears kMistralLinears = MakeLlamaLinears(BiasRule::kNever, BiasRule::kNever, BiasRule::kNever);
constexpr LlamaLinears kQwen2Linears = MakeLlamaLinears(BiasRule::kAlways, BiasRule::kNever, BiasRule::kNever);
constexpr LlamaLinears kQwen3Linears =
    MakeLlamaLinears(BiasRule::kAttentionBias, BiasRule::kAttentionBias, BiasRule::kNever);

constexpr NormDescriptor kLlamaNorms[] = {{NormRole::kAttention, "input_layernorm"},
                                          {NormRole::kMlp, "post_attention_layernorm"}};
constexpr NormDescriptor kQwen3Norms[] = {{NormRole::kAttention, "input_layernorm"},
                                          {NormRole::kMlp, "post_attention_layernorm"},
                                          {NormRole::kQueryHead, "self_attn.q_norm"},
                                          {NormRole::kKeyHead, "self_attn.k_norm"}};

constexpr LinearDescriptor kOptLinears[] = {
    {Role::kQuery, "self_attn.q_proj", Dim::kHeads, Dim::kHidden, BiasRule::kAttentionBias, 0, "qkv",
     "self_attn_layer_norm"},
    {Role::kKey, "self_attn.k_proj", Dim::kKvHeads, Dim::kHidden, BiasRule::kAttentionBias, 0, "qkv",
     "self_attn_layer_norm"},
    {Role::kValue, "self_attn.v_proj", Dim::kKvHeads, Dim::kHidden, BiasRule::kAttentionBias, 0, "qkv",
     "self_attn_layer_norm"},
    {Role::kAttentionOut, "self_attn.out_proj", Dim::kHidden, Dim::kHeads, BiasRule::kAttentionBias, 1, "", ""},
    {Role::kUp, "fc1", Dim::kIntermediate, Dim::kHidden, BiasRule::kMlpBias, 2, "", "final_layer_norm"},
    {Role::kDown, "fc2", Dim::kHidden, Dim::kIntermediate, BiasRule::kMlpBias, 3, "", ""},
};
constexpr NormDescriptor kOptNorms[] = {{NormRole::kAttention, "self_attn_layer_norm"},
                                        {NormRole::kMlp, "final_layer_norm"}};

constexpr LinearDescriptor kBloomLinears[] = {
    {Role::kFusedQkv, "self_attention.query_key_value", Dim::kFusedHeads, Dim::kHidden, BiasRule::kAlways, 0, "",
     "input_layernorm"},
    {Role::kAttentionOut, "self_attention.dense", Dim::kHidden, Dim::kHeads, BiasRule::kAlways, 1, "", ""},
    {Role::kUp, "mlp.dense_h_to_4h", Dim::kIntermediate, Dim::kHidden, BiasRule::kAlways, 2, "",
     "post_attention_layernorm"},
    {Role::kDown, "mlp.dense_4h_to_h", Dim::kHidden, Dim::kIntermediate, BiasRule::kAlways, 3, "", ""},
};

constexpr const char* kRotaryBuffers[] = {"rotary_emb.inv_freq"};
constexpr const char* kMaskBuffers[] = {"attn.bias", "attn.masked_bias", "attention.bias",
                                        "self_attention.masked_bias"};

const Architecture kLlama = {
    .name = "LlamaForCausalLM",
    .model_type = "llama",
    .keys = {},
    .norm = NormKind::kRms,
    .position = PositionKind::kRotary,
    .activations = kSiluOnly,
    .linears = kLlamaLinears.rows,
    .norms = kLlamaNorms,
    .prefix = "model.",
    .block_prefix = "layers.%d.",
    .embedding = "embed_tokens",
    .final_norm = "norm",
    .ignored_suffixes = kRotaryBuffers,
    .head_size_free = true,
};

const Architecture kMistral = {
    .name = "MistralForCausalLM",
    .model_type = "mistral",
    .keys = {},
    .norm = NormKind::kRms,
    .position = PositionKind::kRotary,
    .activations = kSiluOnly,
    .linears = kMistralLinears.rows,
    .norms = kLlamaNorms,
    .prefix = "model.",
    .block_prefix = "layers.%d.",
    .embedding = "embed_tokens",
    .final_norm = "norm",
    .ignored_suffixes = kRotaryBuffers,
    .head_size_free = true,
    .sliding_window_by_default = true,
    .default_sliding_window = 4096,
    .default_kv_heads = 8,
};

const Architecture kQwen2 = {
    .name = "Qwen2ForCausalLM",
    .model_type = "qwen2",
    .keys = {},
    .norm = NormKind::kRms,
    .position = PositionKind::kRotary,
    .activations = kSiluOnly,
    .linears = kQwen2Linears.rows,
    .norms = kLlamaNorms,
    .prefix = "model.",
    .block_prefix = "layers.%d.",
    .embedding = "embed_tokens",
    .final_norm = "norm",
    .ignored_suffixes = kRotaryBuffers,
    .head_size_free = true,
    .default_kv_heads = 32,
};

const Architecture kQwen3 = {
    .name = "Qwen3ForCausalLM",
    .model_type = "qwen3",
    .keys = {},
    .norm = NormKind::kRms,
    .position = PositionKind::kRotary,
    .activations = kSiluOnly,
    .linears = kQwen3Linears.rows,
    .norms = kQwen3Norms,
    .prefix = "model.",
    .block_prefix = "layers.%d.",
    .embedding = "embed_tokens",
    .final_norm = "norm",
    .ignored_suffixes = kRotaryBuffers,
    .head_size_free = true,
    .default_kv_heads = 32,
};

const Architecture kOpt = {
    .name = "OPTForCausalLM",
    .model_type = "opt",
    .keys = {.intermediate_size = "ffn_dim", .kv_heads = "", .norm_epsilon = "", .activation = "activation_function"},
    .norm = NormKind::kLayer,
    .position = PositionKind::kLearned,
    .activations = kOptActivations,
    .linears = kOptLinears,
    .norms = kOptNorms,
    .prefix = "model.",
    .prefix_optional = true,
    .block_prefix = "decoder.layers.%d.",
    .embedding = "decoder.embed_tokens",
    .final_norm = "decoder.final_layer_norm",
    .positions = "decoder.embed_positions",
    .position_offset = 2,
    .project_in = "decoder.project_in",
    .project_out = "decoder.project_out",
    .tied_by_default = true,
    .default_norm_epsilon = 1e-5,
};

const Architecture kBloom = {
    .name = "BloomForCausalLM",
    .model_type = "bloom",
    .keys = {.intermediate_size = "",
             .blocks = "n_layer",
             .heads = "n_head",
             .kv_heads = "",
             .context = "",
             .norm_epsilon = "layer_norm_epsilon",
             .activation = ""},
    .norm = NormKind::kLayer,
    .position = PositionKind::kAlibi,
    .qkv = QkvLayout::kPerHead,
    .activations = kBloomActivations,
    .linears = kBloomLinears,
    .norms = kLlamaNorms,
    .prefix = "transformer.",
    .prefix_optional = true,
    .block_prefix = "h.%d.",
    .embedding = "word_embeddings",
    .final_norm = "ln_f",
    .embedding_norm = "word_embeddings_layernorm",
    .ignored_suffixes = kMaskBuffers,
    .tied_by_default = true,
    .default_norm_epsilon = 1e-5,
};

constexpr const Architecture* kArchitectures[] = {&kLlama, &kMistral, &kQwen2, &kQwen3, &kOpt, &kBloom};

}  // namespace

bool Architecture::gated() const {
  return Find(Role::kGate) != nullptr;
}

const LinearDescriptor* Architecture::Find(Role role) const {
  for (const LinearDescriptor& linear : linears) {
    if (linear.role == role) return &linear;
  }
  return nullptr;
}

absl::Span<const Architecture* const> KnownArchitectures() {
  return kArchitectures;
}

absl::StatusOr<const Architecture*> FindArchitecture(absl::string_view model_type, absl::string_view name,
                                                     absl::string_view source) {
  for (const Architecture* architecture : kArchitectures) {
    if (model_type == architecture->model_type) return architecture;
  }
  for (const Architecture* architecture : kArchitectures) {
    if (model_type.empty() && name == architecture->name) return architecture;
  }
  const std::string known =
      absl::StrJoin(kArchitectures, ", ", [](std::string* out, const Architecture* a) { out->append(a->model_type); });
  return InvalidInput(
      "ARCHITECTURE_UNKNOWN",
      absl::StrFormat("%s: architecture '%s' (%s) is not supported; known are %s", source, model_type, name, known));
}

}  // namespace quantd
