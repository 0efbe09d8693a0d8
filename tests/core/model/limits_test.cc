// What a caller may not ask of a model, and where generation ends.
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/formats/checkpoint.h"
#include "core/model/generate.h"
#include "core/model/transformer.h"
#include "tests/core/model/checkpoint_edits.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using Ids = std::vector<int32_t>;

class LimitsTest : public testing::Test {
 protected:
  // A context of 16 learned positions and no end-of-text token, so that only limits end a text.
  LimitsTest() {
    CheckpointEdits edits("opt");
    const std::string positions = "model.decoder.embed_positions.weight";
    edits.config()["max_position_embeddings"] = kContext;
    edits.config()["eos_token_id"] = nullptr;
    edits.Tensor(positions).shape[0] = kContext + 2;
    edits.Tensor(positions).bytes.resize((kContext + 2) * 64 * sizeof(float));
    folder_ = edits.Write();
    model_ = Transformer::Open(folder_, std::shared_ptr<const WeightSource>(OpenCheckpoint(folder_).value())).value();
  }

  absl::Status Embed(const Ids& ids, int64_t first_position) const {
    Matrix hidden(static_cast<int64_t>(ids.size()), model_->config().hidden_size);
    return model_->Embed(*context_, ids, first_position, hidden.view());
  }

  // Every token that is generated after a prompt of so many.
  Ids Generated(int64_t prompt, int64_t max_tokens) const {
    Ids ids;
    const auto collect = [&](int32_t id) { return ids.push_back(id), true; };
    EXPECT_OK(Generate(*context_, *model_, Ids(prompt, 5), {.max_tokens = max_tokens}, collect));
    return ids;
  }

  static constexpr int64_t kContext = 16;
  const std::unique_ptr<ExecutionContext> context_ = ExecutionContext::Create({.threads = 1}).value();
  std::string folder_;
  std::unique_ptr<Transformer> model_;
};

TEST_F(LimitsTest, TokensAreBelowTheVocabulary) {
  EXPECT_OK(Embed({0, 287}, 0));
  EXPECT_THAT(Embed({0, 288}, 0), FailsWith("TOKEN_OUT_OF_RANGE", "token id 288 at index 1; the vocabulary has 288"));
  EXPECT_THAT(Embed({-1}, 0), FailsWith("TOKEN_OUT_OF_RANGE", "token id -1 at index 0"));
  EXPECT_THAT(Embed({std::numeric_limits<int32_t>::max()}, 0), FailsWith("TOKEN_OUT_OF_RANGE", folder_));
}

TEST_F(LimitsTest, PositionsAreBelowTheContext) {
  EXPECT_OK(Embed({1}, kContext - 1));
  EXPECT_THAT(Embed({1}, kContext),
              FailsWith("POSITION_OUT_OF_RANGE", "positions 16 to 16 asked for, the model has 16"));
  EXPECT_THAT(Embed(Ids(17, 1), 0), FailsWith("POSITION_OUT_OF_RANGE", "positions 0 to 16"));
  EXPECT_THAT(Embed({1}, -1), FailsWith("POSITION_OUT_OF_RANGE", folder_));
}

TEST_F(LimitsTest, CacheTakesNoMoreThanItHolds) {
  KvCache cache(model_->config(), 3);
  ASSERT_OK_AND_ASSIGN(const Block block, model_->LoadBlock(0));
  Matrix hidden(4, model_->config().hidden_size);
  const ForwardOptions options{.first_position = 0, .cache = &cache};
  EXPECT_THAT(model_->ForwardBlock(*context_, block, options, hidden.view()),
              FailsWith("CACHE_FULL", "0 of 3 tokens and cannot take 4 more"));
  EXPECT_OK(model_->ForwardBlock(*context_, block, options, hidden.view().Rows(0, 3)));
}

TEST_F(LimitsTest, PromptFitsTheContext) {
  const auto never = [](int32_t) { return true; };
  EXPECT_THAT(Generate(*context_, *model_, {}, {}, never), FailsWith("PROMPT_EMPTY", "give some text"));
  EXPECT_THAT(Generate(*context_, *model_, Ids(17, 1), {}, never),
              FailsWith("PROMPT_TOO_LONG", "17 tokens, the context is 16"));
  EXPECT_THAT(Generate(*context_, *model_, Ids{288}, {}, never), FailsWith("TOKEN_OUT_OF_RANGE", "288"));
}

TEST_F(LimitsTest, GenerationEndsWithTheContextOrTheLimit) {
  EXPECT_EQ(Generated(3, 5).size(), 5u);
  EXPECT_EQ(Generated(3, 0).size(), 0u);
  EXPECT_EQ(Generated(3, -7).size(), 0u);
  // Positions 3 to 15 take 13 tokens; the full context predicts one more.
  EXPECT_EQ(Generated(3, 1000).size(), 14u);
  EXPECT_EQ(Generated(3, std::numeric_limits<int64_t>::max()).size(), 14u);
  EXPECT_EQ(Generated(16, 1000).size(), 1u);
}

TEST_F(LimitsTest, GenerationEndsWhenTheCallerHadEnough) {
  int calls = 0;
  EXPECT_OK(Generate(*context_, *model_, Ids{5}, {}, [&](int32_t) { return ++calls < 3; }));
  EXPECT_EQ(calls, 3);
}

TEST_F(LimitsTest, DrawsDependOnTheSeedAlone) {
  const auto drawn = [&](uint64_t seed) {
    Ids ids;
    const auto collect = [&](int32_t id) { return ids.push_back(id), true; };
    EXPECT_OK(Generate(*context_, *model_, Ids{5}, {.max_tokens = 12, .temperature = 1, .seed = seed}, collect));
    return ids;
  };
  EXPECT_EQ(drawn(1), drawn(1));
  EXPECT_NE(drawn(1), drawn(2));  // 12 draws from 288 tokens
}

}  // namespace
}  // namespace quantd
