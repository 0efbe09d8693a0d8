// Checkpoints that do not fit their configuration or hold what no weight may hold.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "core/formats/checkpoint.h"
#include "core/model/transformer.h"
#include "tests/core/model/checkpoint_edits.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr char kMissing[] = "TENSOR_MISSING";
constexpr char kUnexpected[] = "TENSOR_UNEXPECTED";
constexpr char kShape[] = "TENSOR_WRONG_SHAPE";
constexpr char kDtype[] = "TENSOR_WRONG_DTYPE";
constexpr char kNotFinite[] = "TENSOR_NOT_FINITE";

// The llama fixture: 2 blocks, hidden 64, 4 heads of 16, 2 of them with keys and values, intermediate 172, vocabulary
// 320, untied. The opt one: 3 blocks, vocabulary 288, tied. The bloom one: 2 blocks, hidden 48.
constexpr char kQuery[] = "model.layers.1.self_attn.q_proj.weight";
constexpr char kDown[] = "model.layers.0.mlp.down_proj.weight";
constexpr char kEmbedding[] = "model.embed_tokens.weight";
constexpr char kNorm[] = "model.layers.0.input_layernorm.weight";

struct BadCheckpoint {
  const char* name;
  const char* family;
  void (*edit)(CheckpointEdits& edits);
  const char* reason;
  const char* mentions;  // the tensor, and shape or place
};

// clang-format off
const BadCheckpoint kBadCheckpoints[] = {
    {"NoEmbedding", "llama", [](auto& e) { e.Remove(kEmbedding); }, kMissing, kEmbedding},
    {"NoHead", "llama", [](auto& e) { e.Remove("lm_head.weight"); }, kMissing, "lm_head.weight"},
    {"NoFinalNorm", "llama", [](auto& e) { e.Remove("model.norm.weight"); }, kMissing, "model.norm.weight"},
    {"NoQuery", "llama", [](auto& e) { e.Remove(kQuery); }, kMissing, kQuery},
    {"NoBlockNorm", "llama", [](auto& e) { e.Remove(kNorm); }, kMissing, kNorm},
    {"ABlockTooFew", "llama", [](auto& e) { e.config()["num_hidden_layers"] = 3; }, kMissing, "model.layers.2.input_layernorm.weight"},
    {"ListIsCutWithItsLength", "llama", [](auto& e) { e.config()["num_hidden_layers"] = 3; }, kMissing, "9 tensors that the configuration wants are missing"},
    {"NoBias", "llama", [](auto& e) { e.config()["mlp_bias"] = true; }, kMissing, "model.layers.0.mlp.down_proj.bias"},
    {"NoOptBias", "opt", [](auto& e) { e.Remove("model.decoder.layers.2.fc1.bias"); }, kMissing, "model.decoder.layers.2.fc1.bias"},
    {"NoPositions", "opt", [](auto& e) { e.Remove("model.decoder.embed_positions.weight"); }, kMissing, "model.decoder.embed_positions.weight"},
    {"NoProjections", "opt", [](auto& e) { e.config()["word_embed_proj_dim"] = 32; }, kMissing, "model.decoder.project_in.weight"},
    {"NoEmbeddingNorm", "bloom", [](auto& e) { e.Remove("transformer.word_embeddings_layernorm.bias"); }, kMissing, "transformer.word_embeddings_layernorm.bias"},
    {"OtherFamily", "llama", [](auto& e) { e.config()["model_type"] = "qwen2"; }, kMissing, "model.layers.0.self_attn.k_proj.bias"},
    {"ABlockTooMany", "llama", [](auto& e) { e.config()["num_hidden_layers"] = 1; }, kUnexpected, "model.layers.1."},
    {"UnknownTensor", "llama", [](auto& e) { e.AddZeros("model.adapter.weight", Dtype::kF32, {4}); }, kUnexpected, "model.adapter.weight"},
    {"BiasWithoutSwitch", "llama", [](auto& e) { e.AddZeros("model.layers.0.mlp.up_proj.bias", Dtype::kF32, {172}); }, kUnexpected, "model.layers.0.mlp.up_proj.bias"},
    {"EndOfANameIsNoBuffer", "bloom", [](auto& e) { e.AddZeros("transformer.h.0.flattn.bias", Dtype::kF32, {4}); }, kUnexpected, "transformer.h.0.flattn.bias"},
    {"VocabularyAboveTheEmbedding", "llama", [](auto& e) { e.config()["vocab_size"] = 400; }, kShape, "'model.embed_tokens.weight' is [320, 64] and not [400, 64]"},
    {"VocabularyBelowTheEmbedding", "opt", [](auto& e) { e.config()["vocab_size"] = 287; }, kShape, "'model.decoder.embed_tokens.weight' is [288, 64] and not [287, 64]"},
    {"Transposed", "llama", [](auto& e) { e.Tensor(kDown).shape = {172, 64}; }, kShape, "'model.layers.0.mlp.down_proj.weight' is [172, 64] and not [64, 172]"},
    {"Flat", "llama", [](auto& e) { e.Tensor(kDown).shape = {172 * 64}; }, kShape, "down_proj.weight' is [11008]"},
    {"ThreeDimensions", "llama", [](auto& e) { e.Tensor(kDown).shape = {64, 172, 1}; }, kShape, "down_proj.weight' is [64, 172, 1]"},
    {"NormAsMatrix", "llama", [](auto& e) { e.Tensor(kNorm).shape = {64, 1}; }, kShape, "input_layernorm.weight' is [64, 1] and not [64]"},
    {"NormWithoutElements", "llama", [](auto& e) { e.AddZeros(kNorm, Dtype::kF32, {0}); }, kShape, "input_layernorm.weight' is [0]"},
    {"NormIsANumber", "llama", [](auto& e) { e.AddZeros(kNorm, Dtype::kF32, {}); }, kShape, "input_layernorm.weight' is []"},
    {"OtherHiddenSize", "llama", [](auto& e) { e.config()["hidden_size"] = 32; }, kShape, "and not [320, 32]"},
    {"OtherKvHeads", "llama", [](auto& e) { e.config()["num_key_value_heads"] = 4; }, kShape, "k_proj.weight' is [32, 64] and not [64, 64]"},
    {"OtherHeadSize", "llama", [](auto& e) { e.config()["head_dim"] = 32; }, kShape, "q_proj.weight' is [64, 64] and not [128, 64]"},
    {"PositionsTooFew", "opt", [](auto& e) { e.config()["max_position_embeddings"] = 65; }, kShape, "embed_positions.weight' is [66, 64] and not [67, 64]"},
    {"WeightOfI32", "llama", [](auto& e) { e.Retype(kQuery, Dtype::kI32); }, kDtype, "q_proj.weight' is I32"},
    {"WeightOfU8", "llama", [](auto& e) { e.Retype(kDown, Dtype::kU8); }, kDtype, "down_proj.weight' is U8"},
    {"NormOfI64", "llama", [](auto& e) { e.Retype(kNorm, Dtype::kI64); }, kDtype, "input_layernorm.weight' is I64"},
    {"EmbeddingOfBool", "llama", [](auto& e) { e.Retype(kEmbedding, Dtype::kBool); }, kDtype, "embed_tokens.weight' is BOOL"},
    {"NanInTheEmbedding", "llama", [](auto& e) { e.Put(kEmbedding, 319 * 64 + 63, kNan); }, kNotFinite, "embed_tokens.weight' holds nan at flat index 20479"},
    {"NanInABlock", "llama", [](auto& e) { e.Put(kQuery, 70, kNan); }, kNotFinite, "q_proj.weight' holds nan at flat index 70"},
    {"InfinityInANorm", "llama", [](auto& e) { e.Put(kNorm, 5, kInfinity); }, kNotFinite, "input_layernorm.weight' holds inf at flat index 5"},
    {"InfinityInTheHead", "llama", [](auto& e) { e.Put("lm_head.weight", 64, -kInfinity); }, kNotFinite, "lm_head.weight' holds -inf at flat index 64"},
    {"NanInABias", "opt", [](auto& e) { e.Put("model.decoder.layers.1.fc2.bias", 0, kNan); }, kNotFinite, "fc2.bias' holds nan at flat index 0"},
    {"NanOfF16", "llama", [](auto& e) { e.Retype(kDown, Dtype::kF16); e.Put(kDown, 9, kNan); }, kNotFinite, "down_proj.weight' holds nan at flat index 9"},
    {"InfinityOfBf16", "llama", [](auto& e) { e.Retype(kDown, Dtype::kBf16); e.Put(kDown, 8, kInfinity); }, kNotFinite, "down_proj.weight' holds inf at flat index 8"},
    {"BeyondF32", "llama", [](auto& e) { e.Retype(kDown, Dtype::kF64); e.Put(kDown, 7, 1e39); }, kNotFinite, "down_proj.weight' holds inf at flat index 7"},
    {"TiedHeadDiffers", "opt", [](auto& e) { e.AddZeros("lm_head.weight", Dtype::kF32, {288, 64}); }, "TIED_HEAD_DIFFERS", "'lm_head.weight' differs from 'model.decoder.embed_tokens.weight'"},
};
// clang-format on

// Opens the model and reads every tensor once.
absl::Status ReadEverything(const std::string& folder) {
  ASSIGN_OR_RETURN(std::shared_ptr<const WeightSource> weights, OpenCheckpoint(folder));
  ASSIGN_OR_RETURN(const auto model, Transformer::Open(folder, weights));
  ASSIGN_OR_RETURN(const auto context, ExecutionContext::Create({.threads = 1}));
  const ModelConfig& config = model->config();
  for (int32_t id = 0; id < config.vocabulary_size; ++id) {
    Matrix hidden(1, config.hidden_size);
    RETURN_IF_ERROR(model->Embed(*context, absl::MakeConstSpan(&id, 1), 0, hidden.view()));
  }
  for (int block = 0; block < config.blocks; ++block) RETURN_IF_ERROR(model->LoadBlock(block).status());
  return model->LoadHead().status();
}

class BadCheckpointTest : public testing::TestWithParam<BadCheckpoint> {};

TEST_P(BadCheckpointTest, IsRefusedByItsTensor) {
  const BadCheckpoint& row = GetParam();
  CheckpointEdits edits(row.family);
  row.edit(edits);
  const std::string folder = edits.Write();
  const absl::Status status = ReadEverything(folder);
  EXPECT_THAT(status, FailsWith(row.reason, row.mentions));
  EXPECT_THAT(status, FailsWith(row.reason, folder));
}

INSTANTIATE_TEST_SUITE_P(EveryRule, BadCheckpointTest, testing::ValuesIn(kBadCheckpoints),
                         [](const auto& row) { return row.param.name; });

struct GoodCheckpoint {
  const char* name;
  const char* family;
  void (*edit)(CheckpointEdits& edits);
};

const GoodCheckpoint kGoodCheckpoints[] = {
    {"Llama", "llama", [](auto&) {}},
    {"Opt", "opt", [](auto&) {}},
    {"Bloom", "bloom", [](auto&) {}},
    {"OldBuffers", "llama",
     [](auto& e) { e.AddZeros("model.layers.0.self_attn.rotary_emb.inv_freq", Dtype::kF32, {8}); }},
    {"BuffersOfAnyType", "bloom",
     [](auto& e) { e.AddZeros("transformer.h.0.self_attention.masked_bias", Dtype::kBool, {1}); }},
    {"TiedHeadStored", "opt", [](auto& e) { e.Add("lm_head.weight", e.Tensor("model.decoder.embed_tokens.weight")); }},
    {"MixedFloats", "llama",
     [](auto& e) {
       e.Retype(kDown, Dtype::kF16);
       e.Retype(kQuery, Dtype::kBf16);
       e.Retype(kNorm, Dtype::kF64);
     }},
};

class GoodCheckpointTest : public testing::TestWithParam<GoodCheckpoint> {};

TEST_P(GoodCheckpointTest, IsRead) {
  CheckpointEdits edits(GetParam().family);
  GetParam().edit(edits);
  EXPECT_OK(ReadEverything(edits.Write()));
}

INSTANTIATE_TEST_SUITE_P(EveryLiberty, GoodCheckpointTest, testing::ValuesIn(kGoodCheckpoints),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace quantd
