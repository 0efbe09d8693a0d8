// Artifacts run from packed weights give what their decoded weights give.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/eval/evaluate.h"
#include "core/model/generate.h"
#include "core/model/layer_ops.h"
#include "core/pipeline/open_model.h"
#include "tests/core/pipeline/small_job.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// The same tensors, all in f32.
class Decoded : public WeightSource {
 public:
  explicit Decoded(const WeightSource& base) : base_(base) {}
  const std::string& path() const override { return base_.path(); }
  std::vector<std::string> Names() const override { return base_.Names(); }
  bool Has(absl::string_view name) const override { return base_.Has(name); }
  absl::StatusOr<std::vector<int64_t>> Shape(absl::string_view name) const override { return base_.Shape(name); }
  absl::Status ReadRows(absl::string_view name, int64_t first, int64_t rows, absl::Span<float> out) const override {
    return base_.ReadRows(name, first, rows, out);
  }
  absl::StatusOr<Dtype> StoredDtype(absl::string_view name) const override { return base_.StoredDtype(name); }
  absl::StatusOr<absl::Span<const char>> StoredTensorBytes(absl::string_view name) const override {
    return base_.StoredTensorBytes(name);
  }
  uint64_t StoredBytes() const override { return base_.StoredBytes(); }

 private:
  const WeightSource& base_;
};

class RunPacked : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string out = JoinPath(MakeTempDir(), "artifact");
    ASSERT_OK(RunSmallJob({.spec = SmallJob(ModelOfBlocks("quantd-tiny-llama", 2), GetParam()), .out = out}));
    ASSERT_OK_AND_ASSIGN(opened_, OpenModelFolder(out, /*with_tokenizer=*/false, ArtifactHold::kNothing));
    ASSERT_OK_AND_ASSIGN(decoded_, Transformer::Open(out, std::make_shared<Decoded>(opened_.model->weights())));
  }

  const std::unique_ptr<ExecutionContext> context_ = ExecutionContext::Create({.threads = 2}).value();
  OpenedModel opened_;
  std::unique_ptr<Transformer> decoded_;
};

// Windows are long enough to be multiplied by decoded tiles.
TEST_P(RunPacked, PerplexityHasTheSameBits) {
  EvaluationTokens tokens;
  for (int w = 0; w < 3; ++w) {
    EvaluationWindow window;
    for (int i = 0; i < 30; ++i) window.tokens.push_back((w * 997 + i * 131) % 4096);
    tokens.windows.push_back(window);
  }
  ASSERT_OK_AND_ASSIGN(const Perplexity packed, EvaluatePerplexity(*context_, *opened_.model, tokens, {}));
  ASSERT_OK_AND_ASSIGN(const Perplexity dense, EvaluatePerplexity(*context_, *decoded_, tokens, {}));
  EXPECT_EQ(packed.nll_sum, dense.nll_sum);
  EXPECT_EQ(packed.top1_accuracy, dense.top1_accuracy);
}

// One linear after the other, within the bound of its form: the weight's rows on one token.
TEST_P(RunPacked, LinearsOfOneTokenAreWithinTheirBound) {
  for (const WeightForm form : {WeightForm::kToRun, WeightForm::kToRunRounded}) {
    ASSERT_OK_AND_ASSIGN(const Block packed, opened_.model->LoadBlock(1, form));
    ASSERT_OK_AND_ASSIGN(const Block dense, decoded_->LoadBlock(1));
    for (size_t i = 0; i < dense.linears.size(); ++i) {
      const Matrix& weight = dense.linears[i].weight;
      const Matrix x = RandomMatrix(1, weight.cols(), 1);
      Matrix out(1, weight.rows()), expected(1, weight.rows());
      ApplyLinear(*context_, packed.linears[i], x.view(), out.view());
      ApplyLinear(*context_, dense.linears[i], x.view(), expected.view());
      for (int64_t r = 0; r < weight.rows(); ++r) {
        double magnitude = 0, largest = 0;
        for (int64_t c = 0; c < weight.cols(); ++c) {
          magnitude += std::abs(weight.at(r, c));
          largest = std::max(largest, std::abs(static_cast<double>(weight.at(r, c))));
        }
        // Inputs are below 1, a form's largest sum of scales below 16 times the largest weight: 2^4 cols 2^-24 a
        // rounding, about a hundred of them (planes_product.h); then the rounding of inputs.
        const double exact = 100 * 16 * largest * static_cast<double>(weight.cols()) * 0x1p-24;
        const double rounded = form == WeightForm::kToRunRounded ? magnitude / 16300 : 0;
        EXPECT_NEAR(out.at(0, r), expected.at(0, r), exact + rounded);
      }
    }
  }
}

TEST_P(RunPacked, GeneratesTheSameText) {
  std::vector<std::vector<int32_t>> texts;
  for (const WeightForm form : {WeightForm::kF32, WeightForm::kToRun, WeightForm::kToRunRounded}) {
    texts.emplace_back();
    const std::vector<int32_t> prompt = {1, 700, 1400, 2100};
    ASSERT_OK(Generate(*context_, *opened_.model, prompt, {.max_tokens = 20, .form = form}, [&](int32_t id) {
      texts.back().push_back(id);
      return true;
    }));
  }
  EXPECT_EQ(texts[1], texts[0]);
  EXPECT_EQ(texts[2], texts[0]);
}

TEST_P(RunPacked, TakesLittleMoreThanItsFiles) {
  uint64_t bytes = 0, stored = 0;
  for (int b = 0; b < 2; ++b) {
    ASSERT_OK_AND_ASSIGN(const Block block, opened_.model->LoadBlock(b, WeightForm::kToRun));
    for (const Linear& linear : block.linears) {
      EXPECT_EQ(linear.weight.size(), 0);
      bytes += linear.to_run->resident_bytes();
    }
  }
  ASSERT_OK_AND_ASSIGN(const Head head, opened_.model->LoadHead(WeightForm::kToRun));
  bytes += head.output.to_run->resident_bytes();
  stored = opened_.model->weights().StoredBytes();
  EXPECT_LE(static_cast<double>(bytes), 1.1 * static_cast<double>(stored));
}

INSTANTIATE_TEST_SUITE_P(Presets, RunPacked, testing::Values("gptq", "gptqt", "bcq"));

}  // namespace
}  // namespace quantd
