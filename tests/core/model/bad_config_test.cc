// config.json files that must be refused, and the field each message must name.
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/match.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/model/architecture.h"
#include "core/model/model_config.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr char kInvalid[] = "CONFIG_INVALID";
constexpr char kSource[] = "models/some model/config.json";

struct BadConfig {
  const char* name;
  const char* family;    // whose valid config.json is changed
  const char* patch;     // RFC 7396 merge patch: null removes
  const char* mentions;  // field and limit in the message
  const char* reason = kInvalid;
};

// clang-format off
constexpr BadConfig kBadConfigs[] = {
    // Sizes.
    {"NoVocabulary", "llama", R"({"vocab_size":null})", "'vocab_size' is missing"},
    {"ZeroVocabulary", "llama", R"({"vocab_size":0})", "'vocab_size' is 0; it must be 1 to 16777216"},
    {"HugeVocabulary", "llama", R"({"vocab_size":16777217})", "'vocab_size' is 16777217"},
    {"NoHiddenSize", "llama", R"({"hidden_size":null})", "'hidden_size' is missing"},
    {"NegativeHiddenSize", "llama", R"({"hidden_size":-64})", "'hidden_size' is -64"},
    {"FractionOfHiddenSize", "llama", R"({"hidden_size":64.5})", "'hidden_size' must be an integer, not 64.5"},
    {"FloatHiddenSize", "llama", R"({"hidden_size":64.0})", "'hidden_size' must be an integer"},
    {"TextHiddenSize", "llama", R"({"hidden_size":"64"})", "'hidden_size' must be an integer"},
    {"ListOfHiddenSizes", "llama", R"({"hidden_size":[64]})", "'hidden_size' must be an integer"},
    {"BooleanHiddenSize", "llama", R"({"hidden_size":true})", "'hidden_size' must be an integer"},
    {"HiddenSizeOf2To40", "opt", R"({"hidden_size":1099511627776})", "'hidden_size' is 1099511627776"},
    {"HiddenSizeOf2To63", "llama", R"({"hidden_size":9223372036854775808})", "'hidden_size' must be an integer below 2^63"},
    {"HiddenSizeBeyond64Bits", "llama", R"({"hidden_size":18446744073709551680})", "'hidden_size' must be an integer"},
    {"NoIntermediateSize", "llama", R"({"intermediate_size":null})", "'intermediate_size' is missing"},
    {"ZeroIntermediateSize", "llama", R"({"intermediate_size":0})", "'intermediate_size' is 0"},
    {"ZeroFfnDim", "opt", R"({"ffn_dim":0})", "'ffn_dim' is 0"},
    {"ZeroBlocks", "llama", R"({"num_hidden_layers":0})", "'num_hidden_layers' is 0; it must be 1 to 4096"},
    {"TooManyBlocks", "llama", R"({"num_hidden_layers":4097})", "'num_hidden_layers' is 4097"},
    {"NoBloomBlocks", "bloom", R"({"n_layer":null,"num_hidden_layers":null})", "'n_layer' is missing"},
    {"ZeroContext", "llama", R"({"max_position_embeddings":0})", "'max_position_embeddings' is 0"},
    {"NegativeContext", "opt", R"({"max_position_embeddings":-1})", "'max_position_embeddings' is -1"},
    {"HugeContext", "opt", R"({"max_position_embeddings":1000000000000})", "'max_position_embeddings' is 1000000000000"},
    {"ZeroProjection", "opt", R"({"word_embed_proj_dim":0})", "'word_embed_proj_dim' is 0"},
    {"ZeroEpsilon", "llama", R"({"rms_norm_eps":0})", "'rms_norm_eps' is 0"},
    {"NegativeEpsilon", "bloom", R"({"layer_norm_epsilon":-1e-5})", "'layer_norm_epsilon' is -1e-05"},
    {"TextEpsilon", "llama", R"({"rms_norm_eps":"1e-5"})", "'rms_norm_eps' must be a number"},
    {"SpellingsDiffer", "bloom", R"({"n_layer":2,"num_hidden_layers":3})", "'n_layer' and 'num_hidden_layers' mean the same"},
    // Heads.
    {"ZeroHeads", "llama", R"({"num_attention_heads":0})", "'num_attention_heads' is 0"},
    {"HeadsDoNotDivide", "llama", R"({"num_attention_heads":6,"head_dim":null})", "'num_attention_heads' is 6, which does not divide the hidden size 64"},
    {"OptHeadsDoNotDivide", "opt", R"({"num_attention_heads":5})", "'num_attention_heads' is 5"},
    {"BloomHeadsDoNotDivide", "bloom", R"({"n_head":5,"num_attention_heads":null})", "'n_head' is 5, which does not divide the hidden size 48"},
    {"MoreHeadsThanHidden", "opt", R"({"num_attention_heads":128})", "'num_attention_heads' is 128"},
    {"KvHeadsDoNotDivide", "llama", R"({"num_key_value_heads":3})", "'num_key_value_heads' is 3, which does not divide the 4 heads"},
    {"MoreKvHeadsThanHeads", "llama", R"({"num_key_value_heads":8})", "'num_key_value_heads' is 8"},
    {"ZeroKvHeads", "llama", R"({"num_key_value_heads":0})", "'num_key_value_heads' is 0"},
    {"DefaultKvHeadsDoNotDivide", "llama", R"({"model_type":"mistral","num_key_value_heads":null})", "'num_key_value_heads' is 8"},
    {"ZeroHeadSize", "llama", R"({"head_dim":0})", "'head_dim' is 0"},
    {"OddHeadSize", "llama", R"({"head_dim":15})", "head size of 15"},
    {"HeadsTimesHeadSizeHuge", "llama", R"({"num_attention_heads":16777216,"head_dim":16777216})", "'head_dim' 16777216"},
    // Positions.
    {"RotaryBaseZero", "llama", R"({"rope_parameters":{"rope_theta":0}})", "'rope_theta' is 0"},
    {"RotaryBaseText", "llama", R"({"rope_parameters":{"rope_theta":"10000"}})", "'rope_theta' must be a number"},
    {"RotaryBaseNegativeOldPlace", "llama", R"({"rope_parameters":null,"rope_theta":-1})", "'rope_theta' is -1"},
    {"ScalingIsAList", "llama", R"({"rope_parameters":null,"rope_scaling":[2]})", "'rope_scaling' must be an object"},
    {"ScalingUnknown", "llama", R"({"rope_scaling":{"type":"yarn"},"rope_parameters":null})", "'yarn' is not supported; known are default, linear, llama3"},
    {"ScalingTypeIsANumber", "llama", R"({"rope_parameters":{"rope_type":3}})", "'rope_type' must be a string"},
    {"LinearWithoutFactor", "llama", R"({"rope_parameters":{"rope_type":"linear"}})", "'factor' is missing"},
    {"LinearByZero", "llama", R"({"rope_parameters":{"rope_type":"linear","factor":0}})", "'factor' is 0"},
    {"Llama3WithoutLowFactor", "llama", R"({"rope_parameters":{"rope_type":"llama3","factor":8,"high_freq_factor":4,"original_max_position_embeddings":64}})", "'low_freq_factor' is missing"},
    {"Llama3FactorsCross", "llama", R"({"rope_parameters":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4,"original_max_position_embeddings":64}})", "'high_freq_factor' is 4; it must be above"},
    {"Llama3WithoutContext", "llama", R"({"rope_parameters":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4}})", "'original_max_position_embeddings' is missing"},
    {"RotaryShareAboveOne", "llama", R"({"model_type":"phi3","partial_rotary_factor":1.5})", "'partial_rotary_factor' is 1.5"},
    {"RotaryShareZero", "llama", R"({"model_type":"phi3","partial_rotary_factor":0})", "would turn 0 entries"},
    {"WindowZero", "llama", R"({"model_type":"mistral","sliding_window":0})", "'sliding_window' is 0"},
    {"WindowNegative", "llama", R"({"model_type":"mistral","sliding_window":-4})", "'sliding_window' is -4"},
    {"LayerTypesTooFew", "llama", R"({"layer_types":["full_attention"]})", "'layer_types' must list 2 blocks"},
    {"LayerTypesMixed", "llama", R"({"layer_types":["full_attention","sliding_attention"]})", "'layer_types' holds \"sliding_attention\""},
    {"QwenWindow", "llama", R"({"model_type":"qwen2","num_key_value_heads":2,"use_sliding_window":true})", "'use_sliding_window' is true"},
    // What else a family does not do.
    {"ActivationUnknown", "llama", R"({"hidden_act":"mish"})", "'hidden_act' is 'mish', which is not supported for llama; 'silu' is"},
    {"ActivationOfAnotherFamily", "opt", R"({"activation_function":"silu"})", "'activation_function' is 'silu'"},
    {"ActivationIsANumber", "llama", R"({"hidden_act":1})", "'hidden_act' must be a string"},
    {"ResidualAfterNorm", "bloom", R"({"apply_residual_connection_post_layernorm":true})", "'apply_residual_connection_post_layernorm' is true"},
    {"TiedIsAText", "llama", R"({"tie_word_embeddings":"false"})", "'tie_word_embeddings' must be true or false"},
    {"BiasIsANumber", "llama", R"({"attention_bias":0})", "'attention_bias' must be true or false"},
    {"EndTokenNegative", "llama", R"({"eos_token_id":-1})", "'eos_token_id' must hold token ids"},
    {"EndTokensOfText", "llama", R"({"eos_token_id":[2,"3"]})", "'eos_token_id' must hold token ids"},
    {"EndTokenHuge", "llama", R"({"eos_token_id":16777216})", "'eos_token_id' must hold token ids"},
    {"AlreadyQuantized", "llama", R"({"quantization_config":{"bits":4}})", "give the original", "MODEL_ALREADY_QUANTIZED"},
    {"ModelTypeIsANumber", "llama", R"({"model_type":7})", "'model_type' must be a string"},
    {"ModelTypeUnknown", "llama", R"({"model_type":"rwkv","architectures":["RwkvForCausalLM"]})", "'rwkv' (RwkvForCausalLM)", "ARCHITECTURE_UNKNOWN"},
    {"NoArchitecture", "llama", R"({"model_type":null,"architectures":null})", "is not supported", "ARCHITECTURE_UNKNOWN"},
    {"ArchitecturesOfNumbers", "llama", R"({"model_type":null,"architectures":[1]})", "is not supported", "ARCHITECTURE_UNKNOWN"},
};
// clang-format on

Json ConfigOf(const std::string& family) {
  return ReadJsonFile(SourcePath("tests/data/arch/" + family + "/config.json")).value();
}

class BadConfigTest : public testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigTest, IsRefusedByItsField) {
  const BadConfig& row = GetParam();
  Json json = ConfigOf(row.family);
  EXPECT_OK(ParseModelConfig(json, kSource));
  json.merge_patch(Json::parse(row.patch));
  const auto config = ParseModelConfig(json, kSource);
  EXPECT_THAT(config, FailsWith(row.reason, row.mentions));
  EXPECT_THAT(config, FailsWith(row.reason, kSource));
}

INSTANTIATE_TEST_SUITE_P(EveryField, BadConfigTest, testing::ValuesIn(kBadConfigs),
                         [](const auto& row) { return row.param.name; });

TEST(UnknownArchitectureTest, ListsAllKnownOnes) {
  const auto config = ParseModelConfig({{"model_type", "rwkv"}}, kSource);
  for (const Architecture* known : KnownArchitectures()) {
    EXPECT_THAT(config, FailsWith("ARCHITECTURE_UNKNOWN", known->model_type));
  }
}

TEST(HostileConfigTest, LongNamesAreNotQuotedWhole) {
  const std::string name(100'000, 'x');
  for (const Json& patch : {Json{{"model_type", name}}, Json{{"hidden_act", name}}, Json{{"vocab_size", name}},
                            Json{{"rope_parameters", {{"rope_type", name}}}}}) {
    Json json = ConfigOf("llama");
    json.merge_patch(patch);
    EXPECT_LT(ParseModelConfig(json, kSource).status().message().size(), 500) << patch.begin().key();
  }
}

struct BadDocument {
  const char* bytes;
  const char* reason;
};

TEST(BadConfigFileTest, IsRefusedByItsPath) {
  for (const BadDocument& row : {BadDocument{"", "JSON_MALFORMED"},
                                 {"{\"vocab_size\":", "JSON_MALFORMED"},
                                 {"{\"x\":NaN}", "JSON_MALFORMED"},
                                 {"{\"rms_norm_eps\":1e999}", "JSON_MALFORMED"},
                                 {"{\"model_type\":\"\xff\"}", "JSON_MALFORMED"},
                                 {"{\"vocab_size\":1,\"vocab_size\":2}", "JSON_DUPLICATE_KEY"},
                                 {"[]", kInvalid},
                                 {"7", kInvalid},
                                 {"null", kInvalid}}) {
    const std::string path = MakeTempDir() + "/config.json";
    ASSERT_OK(WriteFileDurably(RealFileSystem(), path, row.bytes));
    EXPECT_THAT(ReadModelConfig(path), FailsWith(row.reason, path)) << row.bytes;
  }
  EXPECT_THAT(ReadModelConfig(MakeTempDir()), FailsWith("NOT_A_REGULAR_FILE", ""));
  EXPECT_THAT(ReadModelConfig("/nowhere/config.json"), FailsWith("FILE_NOT_FOUND", "/nowhere/config.json"));
}

}  // namespace
}  // namespace quantd
