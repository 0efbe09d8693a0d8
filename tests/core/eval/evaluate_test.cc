// Scores against an independent float64 reference (the golden losses), and the identities every comparison must keep.
#include "core/eval/evaluate.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/formats/checkpoint.h"
#include "core/formats/safetensors.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

std::unique_ptr<Transformer> OpenModel(const std::string& folder) {
  auto weights = OpenCheckpoint(folder);
  EXPECT_OK(weights);
  auto model = Transformer::Open(folder, std::shared_ptr<const WeightSource>(*std::move(weights)));
  EXPECT_OK(model);
  return *std::move(model);
}

EvaluationTokens GoldenWindows(const std::string& folder) {
  const SafetensorsFile file = *SafetensorsFile::Open(folder + "/golden.safetensors");
  const TensorEntry& entry = *file.Find("input_ids");
  std::vector<int64_t> ids(static_cast<size_t>(entry.elements()));
  std::memcpy(ids.data(), file.Bytes(entry).data(), entry.size_bytes());
  EvaluationTokens tokens;
  tokens.protocol = "plain";
  for (int64_t s = 0; s < entry.shape[0]; ++s) {
    tokens.windows.push_back({{ids.begin() + s * entry.shape[1], ids.begin() + (s + 1) * entry.shape[1]}, 1});
  }
  return tokens;
}

double GoldenLoss(const std::string& folder) {
  const SafetensorsFile file = *SafetensorsFile::Open(folder + "/golden.safetensors");
  double loss;
  std::memcpy(&loss, file.Bytes(*file.Find("loss")).data(), sizeof(loss));
  return loss;
}

TEST(EvaluatePerplexity, EqualsTheReferenceLoss) {
  const auto context = *ExecutionContext::Create({.threads = 2});
  for (const char* name : {"llama", "opt", "bloom"}) {
    SCOPED_TRACE(name);
    const std::string folder = SourcePath(std::string("tests/data/arch/") + name);
    const Json facts = *ReadJsonFile(folder + "/golden.json");
    const auto model = OpenModel(folder);
    ASSERT_OK_AND_ASSIGN(const Perplexity result, EvaluatePerplexity(*context, *model, GoldenWindows(folder), {}));
    EXPECT_EQ(result.windows, 2);
    EXPECT_EQ(result.targets, 2 * 39);
    EXPECT_NEAR(result.mean_nll, GoldenLoss(folder), facts["tolerance_advice"]["float32_loss_max_abs"].get<double>());
    EXPECT_DOUBLE_EQ(result.perplexity, std::exp(result.mean_nll));
    EXPECT_GT(result.perplexity_error, 0);
  }
}

TEST(EvaluatePerplexity, ScoresOnlyTargetsFromTheFirstOnOne) {
  const auto context = *ExecutionContext::Create({.threads = 1});
  const std::string folder = SourcePath("tests/data/arch/llama");
  const auto model = OpenModel(folder);
  EvaluationTokens tokens = GoldenWindows(folder);
  ASSERT_OK_AND_ASSIGN(const Perplexity all, EvaluatePerplexity(*context, *model, tokens, {}));
  for (EvaluationWindow& window : tokens.windows) window.first_target = 20;
  ASSERT_OK_AND_ASSIGN(const Perplexity half, EvaluatePerplexity(*context, *model, tokens, {}));
  EXPECT_EQ(half.targets, 2 * 20);
  EXPECT_LT(half.nll_sum, all.nll_sum);
}

TEST(CompareModels, IdenticalModelsDifferInNothing) {
  const auto context = *ExecutionContext::Create({.threads = 2});
  const std::string folder = SourcePath("tests/data/arch/llama");
  const auto model = OpenModel(folder);
  ASSERT_OK_AND_ASSIGN(const Comparison same, CompareModels(*context, *model, *model, GoldenWindows(folder), {}));
  EXPECT_EQ(same.kl.max, 0);
  EXPECT_EQ(same.same_top1, 1);
  EXPECT_EQ(same.log_perplexity_ratio, 0);
  EXPECT_EQ(same.delta_p_rms, 0);
}

// An original whose head is scaled by 1 / 2 in every logit, so that the divergence has a closed form in its own
// softmax.
class HalvedHead : public WeightSource {
 public:
  explicit HalvedHead(std::shared_ptr<const WeightSource> base) : base_(std::move(base)) {}
  const std::string& path() const override { return base_->path(); }
  std::vector<std::string> Names() const override { return base_->Names(); }
  bool Has(absl::string_view name) const override { return base_->Has(name); }
  absl::StatusOr<std::vector<int64_t>> Shape(absl::string_view name) const override { return base_->Shape(name); }
  absl::Status ReadRows(absl::string_view name, int64_t first, int64_t rows, absl::Span<float> out) const override {
    const absl::Status status = base_->ReadRows(name, first, rows, out);
    if (name == "lm_head.weight") {
      for (float& value : out) value *= 0.5f;
    }
    return status;
  }
  absl::StatusOr<Dtype> StoredDtype(absl::string_view name) const override { return base_->StoredDtype(name); }
  absl::StatusOr<absl::Span<const char>> StoredTensorBytes(absl::string_view name) const override {
    return base_->StoredTensorBytes(name);
  }
  uint64_t StoredBytes() const override { return base_->StoredBytes(); }

 private:
  std::shared_ptr<const WeightSource> base_;
};

// KL(softmax(z) || softmax(z / 2)) in float64, from the reference logits of one position.
double HalvedDivergence(const double* logits, int64_t count) {
  double full = 0, half = 0;
  for (int64_t i = 0; i < count; ++i) {
    full += std::exp(logits[i]);
    half += std::exp(logits[i] / 2);
  }
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += std::exp(logits[i]) / full * ((logits[i] - std::log(full)) - (logits[i] / 2 - std::log(half)));
  }
  return sum;
}

TEST(CompareModels, DivergenceEqualsItsDefinitionOnReferenceLogits) {
  const auto context = *ExecutionContext::Create({.threads = 2});
  const std::string folder = SourcePath("tests/data/arch/llama");
  const auto model = OpenModel(folder);
  const auto halved = *Transformer::Open(
      folder, std::make_shared<HalvedHead>(std::shared_ptr<const WeightSource>(*OpenCheckpoint(folder))));
  ASSERT_OK_AND_ASSIGN(const Comparison result, CompareModels(*context, *model, *halved, GoldenWindows(folder), {}));

  const SafetensorsFile file = *SafetensorsFile::Open(folder + "/golden.safetensors");
  const TensorEntry& entry = *file.Find("logits");
  std::vector<double> logits(static_cast<size_t>(entry.elements()));
  std::memcpy(logits.data(), file.Bytes(entry).data(), entry.size_bytes());
  const int64_t vocabulary = entry.shape[2], length = entry.shape[1];
  double want = 0;
  for (int64_t s = 0; s < 2; ++s) {
    for (int64_t t = 0; t + 1 < length; ++t)
      want += HalvedDivergence(&logits[(s * length + t) * vocabulary], vocabulary);
  }
  // d KL / d logit is below 1 in magnitude here, so the logits' float32 tolerance (5.8e-5) bounds the error of the
  // mean.
  EXPECT_NEAR(result.kl.mean, want / static_cast<double>(2 * (length - 1)), 5.8e-5);
  EXPECT_GT(result.kl.mean, 0.05);
  EXPECT_EQ(result.same_top1, 1);  // halving keeps the order
}

TEST(CompareModels, StopsWhenProgressSaysSo) {
  const auto context = *ExecutionContext::Create({.threads = 1});
  const std::string folder = SourcePath("tests/data/arch/llama");
  const auto model = OpenModel(folder);
  double last = 0;
  ComparisonOptions options;
  options.evaluation.progress = [&](double fraction) {
    EXPECT_GE(fraction, last);
    last = fraction;
    return fraction > 0.5 ? absl::CancelledError("enough") : absl::OkStatus();
  };
  const auto result = CompareModels(*context, *model, *model, GoldenWindows(folder), options);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace quantd
