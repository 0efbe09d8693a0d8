// The families, one row each. How a row is read: architecture.h.
#include "core/model/architecture.h"
#include "core/model/model_config.h"

namespace quantd {
namespace {

using ActivationName = Architecture::ActivationName;

constexpr ActivationName kSiluOnly[] = {{"silu", Activation::kSilu}, {"swish", Activation::kSilu}};
constexpr ActivationName kOptActivations[] = {
    {"relu", Activation::kRelu}, {"gelu", Activation::kGeluErf}, {"gelu_new", Activation::kGeluTanh}};
constexpr ActivationName kNeoxActivations[] = {{"gelu", Activation::kGeluErf},
                                               {"gelu_new", Activation::kGeluTanh},
                                               {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                               {"relu", Activation::kRelu}};
constexpr ActivationName kBloomActivations[] = {{"gelu", Activation::kGeluTanh}};  // its code has the tanh form

constexpr NormDescriptor kTwoNorms[] = {{NormRole::kAttention, "input_layernorm"},
                                        {NormRole::kMlp, "post_attention_layernorm"}};
constexpr NormDescriptor kQwen3Norms[] = {{NormRole::kAttention, "input_layernorm"},
                                          {NormRole::kMlp, "post_attention_layernorm"},
                                          {NormRole::kQueryHead, "self_attn.q_norm"},
                                          {NormRole::kKeyHead, "self_attn.k_norm"}};
constexpr NormDescriptor kOptNorms[] = {{NormRole::kAttention, "self_attn_layer_norm"},
                                        {NormRole::kMlp, "final_layer_norm"}};

constexpr const char* kRotaryBuffers[] = {"rotary_emb.inv_freq"};
constexpr const char* kBloomBuffers[] = {"attn.bias", "attn.masked_bias", "self_attention.masked_bias"};
constexpr const char* kNeoxBuffers[] = {"attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"};

// ---- llama and its kin: rotary positions, RMS norms, gated MLP; they differ in biases, windows and head norms.

struct GatedLinears {
  LinearDescriptor rows[7];
};
constexpr GatedLinears MakeGatedLinears(BiasRule qkv, BiasRule out, BiasRule mlp) {
  constexpr const char* kNorm1 = "input_layernorm";
  constexpr const char* kNorm2 = "post_attention_layernorm";
  return {{
      {Role::kQuery, "self_attn.q_proj", Dim::kHeads, Dim::kHidden, qkv, 0, "qkv", kNorm1},
      {Role::kKey, "self_attn.k_proj", Dim::kKvHeads, Dim::kHidden, qkv, 0, "qkv", kNorm1},
      {Role::kValue, "self_attn.v_proj", Dim::kKvHeads, Dim::kHidden, qkv, 0, "qkv", kNorm1},
      {Role::kAttentionOut, "self_attn.o_proj", Dim::kHidden, Dim::kHeads, out, 1, "", ""},
      {Role::kGate, "mlp.gate_proj", Dim::kIntermediate, Dim::kHidden, mlp, 2, "gate_up", kNorm2},
      {Role::kUp, "mlp.up_proj", Dim::kIntermediate, Dim::kHidden, mlp, 2, "gate_up", kNorm2},
      {Role::kDown, "mlp.down_proj", Dim::kHidden, Dim::kIntermediate, mlp, 3, "", ""},
  }};
}
constexpr GatedLinears kLlamaLinears =
    MakeGatedLinears(BiasRule::kAttentionBias, BiasRule::kAttentionBias, BiasRule::kMlpBias);
constexpr GatedLinears kMistralLinears = MakeGatedLinears(BiasRule::kNever, BiasRule::kNever, BiasRule::kNever);
constexpr GatedLinears kQwen2Linears = MakeGatedLinears(BiasRule::kAlways, BiasRule::kNever, BiasRule::kNever);
constexpr GatedLinears kQwen3Linears =
    MakeGatedLinears(BiasRule::kAttentionBias, BiasRule::kAttentionBias, BiasRule::kNever);

constexpr LinearDescriptor kPhi3Linears[] = {
    {Role::kFusedQkv, "self_attn.qkv_proj", Dim::kFusedHeads, Dim::kHidden, BiasRule::kNever, 0, "", "input_layernorm"},
    {Role::kAttentionOut, "self_attn.o_proj", Dim::kHidden, Dim::kHeads, BiasRule::kNever, 1, "", ""},
    {Role::kFusedGateUp, "mlp.gate_up_proj", Dim::kFusedIntermediate, Dim::kHidden, BiasRule::kNever, 2, "",
     "post_attention_layernorm"},
    {Role::kDown, "mlp.down_proj", Dim::kHidden, Dim::kIntermediate, BiasRule::kNever, 3, "", ""},
};

constexpr ConfigSwitch kLlamaSwitches[] = {{"attention_bias", false, &ModelConfig::attention_bias},
                                           {"mlp_bias", false, &ModelConfig::mlp_bias}};
constexpr ConfigSwitch kQwen3Switches[] = {{"attention_bias", false, &ModelConfig::attention_bias}};
constexpr RequiredSwitch kNoWindow[] = {{"use_sliding_window", false}};

constexpr Architecture LlamaLike(const char* name, const char* model_type, absl::Span<const LinearDescriptor> linears) {
  return {.name = name,
          .model_type = model_type,
          .keys = {},
          .norm = NormKind::kRms,
          .position = PositionKind::kRotary,
          .activations = kSiluOnly,
          .linears = linears,
          .norms = kTwoNorms,
          .prefix = "model.",
          .block_prefix = "layers.%d.",
          .embedding = "embed_tokens",
          .final_norm = "norm",
          .ignored_suffixes = kRotaryBuffers,
          .head_size_free = true};
}

constexpr Architecture kLlama = [] {
  Architecture row = LlamaLike("LlamaForCausalLM", "llama", kLlamaLinears.rows);
  row.switches = kLlamaSwitches;
  return row;
}();

constexpr Architecture kMistral = [] {
  Architecture row = LlamaLike("MistralForCausalLM", "mistral", kMistralLinears.rows);
  row.keys.sliding_window = "sliding_window";
  row.default_sliding_window = 4096;
  row.default_kv_heads = 8;
  return row;
}();

constexpr Architecture kQwen2 = [] {
  Architecture row = LlamaLike("Qwen2ForCausalLM", "qwen2", kQwen2Linears.rows);
  row.required = kNoWindow;
  row.default_kv_heads = 32;
  return row;
}();

constexpr Architecture kQwen3 = [] {
  Architecture row = LlamaLike("Qwen3ForCausalLM", "qwen3", kQwen3Linears.rows);
  row.norms = kQwen3Norms;
  row.switches = kQwen3Switches;
  row.required = kNoWindow;
  row.default_kv_heads = 32;
  return row;
}();

constexpr Architecture kPhi3 = [] {
  Architecture row = LlamaLike("Phi3ForCausalLM", "phi3", kPhi3Linears);
  row.qkv = QkvLayout::kStacked;
  row.keys.rotary_share = "partial_rotary_factor";
  row.keys.sliding_window = "sliding_window";
  row.head_size_free = false;
  row.default_norm_epsilon = 1e-5;
  return row;
}();

// ---- opt: learned positions, either norm order, embeddings that may be narrower than the hidden size.

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

constexpr ConfigSwitch kOptSwitches[] = {
    {"enable_bias", true, &ModelConfig::attention_bias},
    {"enable_bias", true, &ModelConfig::mlp_bias},
    {"do_layer_norm_before", true, &ModelConfig::pre_norm},
    {"_remove_final_layer_norm", false, &ModelConfig::final_norm, /*inverted=*/true},
    {"layer_norm_elementwise_affine", true, &ModelConfig::affine_norms},
};

constexpr Architecture kOpt = {
    .name = "OPTForCausalLM",
    .model_type = "opt",
    .keys = {.intermediate_size = "ffn_dim",
             .kv_heads = "",
             .embedding_size = "word_embed_proj_dim",
             .norm_epsilon = "",
             .activation = "activation_function"},
    .norm = NormKind::kLayer,
    .position = PositionKind::kLearned,
    .activations = kOptActivations,
    .linears = kOptLinears,
    .norms = kOptNorms,
    .switches = kOptSwitches,
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

// ---- bloom and gpt_neox: q, k and v fused head by head, plain MLP.

constexpr LinearDescriptor kBloomLinears[] = {
    {Role::kFusedQkv, "self_attention.query_key_value", Dim::kFusedHeads, Dim::kHidden, BiasRule::kAlways, 0, "",
     "input_layernorm"},
    {Role::kAttentionOut, "self_attention.dense", Dim::kHidden, Dim::kHeads, BiasRule::kAlways, 1, "", ""},
    {Role::kUp, "mlp.dense_h_to_4h", Dim::kIntermediate, Dim::kHidden, BiasRule::kAlways, 2, "",
     "post_attention_layernorm"},
    {Role::kDown, "mlp.dense_4h_to_h", Dim::kHidden, Dim::kIntermediate, BiasRule::kAlways, 3, "", ""},
};

// Published files use GPT-2's or the common spelling.
constexpr KeyAlias kBloomAliases[] = {
    {"hidden_size", "n_embed"}, {"n_layer", "num_hidden_layers"}, {"n_head", "num_attention_heads"}};
constexpr RequiredSwitch kBloomRequired[] = {{"apply_residual_connection_post_layernorm", false}};

constexpr Architecture kBloom = {
    .name = "BloomForCausalLM",
    .model_type = "bloom",
    .keys = {.intermediate_size = "",
             .blocks = "n_layer",
             .heads = "n_head",
             .kv_heads = "",
             .context = "",
             .norm_epsilon = "layer_norm_epsilon",
             .activation = ""},
    .aliases = kBloomAliases,
    .norm = NormKind::kLayer,
    .position = PositionKind::kAlibi,
    .qkv = QkvLayout::kPerHead,
    .activations = kBloomActivations,
    .linears = kBloomLinears,
    .norms = kTwoNorms,
    .required = kBloomRequired,
    .prefix = "transformer.",
    .prefix_optional = true,
    .block_prefix = "h.%d.",
    .embedding = "word_embeddings",
    .final_norm = "ln_f",
    .embedding_norm = "word_embeddings_layernorm",
    .ignored_suffixes = kBloomBuffers,
    .tied_by_default = true,
    .default_norm_epsilon = 1e-5,
};

constexpr LinearDescriptor kNeoxLinears[] = {
    {Role::kFusedQkv, "attention.query_key_value", Dim::kFusedHeads, Dim::kHidden, BiasRule::kAttentionBias, 0, "",
     "input_layernorm"},
    {Role::kAttentionOut, "attention.dense", Dim::kHidden, Dim::kHeads, BiasRule::kAttentionBias, 1, "", ""},
    {Role::kUp, "mlp.dense_h_to_4h", Dim::kIntermediate, Dim::kHidden, BiasRule::kAlways, 2, "",
     "post_attention_layernorm"},
    {Role::kDown, "mlp.dense_4h_to_h", Dim::kHidden, Dim::kIntermediate, BiasRule::kAlways, 3, "", ""},
};

constexpr ConfigSwitch kNeoxSwitches[] = {{"attention_bias", true, &ModelConfig::attention_bias},
                                          {"use_parallel_residual", true, &ModelConfig::parallel_residual}};

constexpr Architecture kNeox = {
    .name = "GPTNeoXForCausalLM",
    .model_type = "gpt_neox",
    .keys = {.kv_heads = "",
             .norm_epsilon = "layer_norm_eps",
             .rotary_base = "rotary_emb_base",
             .rotary_share = "rotary_pct"},
    .norm = NormKind::kLayer,
    .position = PositionKind::kRotary,
    .qkv = QkvLayout::kPerHead,
    .activations = kNeoxActivations,
    .linears = kNeoxLinears,
    .norms = kTwoNorms,
    .switches = kNeoxSwitches,
    .prefix = "gpt_neox.",
    .block_prefix = "layers.%d.",
    .embedding = "embed_in",
    .final_norm = "final_layer_norm",
    .head = "embed_out",
    .ignored_suffixes = kNeoxBuffers,
    .default_norm_epsilon = 1e-5,
    .default_rotary_share = 0.25,
};

constexpr const Architecture* kArchitectures[] = {&kLlama, &kMistral, &kQwen2, &kQwen3, &kPhi3, &kOpt, &kBloom, &kNeox};

}  // namespace

absl::Span<const Architecture* const> KnownArchitectures() {
  return kArchitectures;
}

}  // namespace quantd
