// Forward passes against float64 references of an independent implementation: every folder of the golden architectures,
// in both spellings of its configuration.
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/formats/checkpoint.h"
#include "core/formats/safetensors.h"
#include "core/model/transformer.h"
#include "tests/core/model/golden_tensors.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

double WorstDifference(const MatrixView& got, const std::vector<double>& want, size_t offset = 0) {
  double worst = 0;
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      worst = std::max(worst, std::abs(got.at(r, c) - want[offset + static_cast<size_t>(r * got.cols + c)]));
    }
  }
  return worst;
}

class InputRecorder : public InputObserver {
 public:
  absl::Status OnInput(const LinearSite& site, const MatrixView& input) override {
    inputs.emplace(site.name, Matrix::CopyOf(input));
    return absl::OkStatus();
  }
  std::map<std::string, Matrix> inputs;
};

// The same over the largest reference magnitude of the whole tensor, as the tolerance for hidden states is given.
double WorstOverMaximum(const MatrixView& got, const std::vector<double>& want, size_t offset = 0) {
  double maximum = 0;
  for (const double value : want) maximum = std::max(maximum, std::abs(value));
  return WorstDifference(got, want, offset) / maximum;
}

double MeanLoss(const MatrixView& logits, const std::vector<int32_t>& ids) {
  double sum = 0;
  for (int64_t t = 0; t + 1 < logits.rows; ++t) {
    double maximum = -INFINITY, total = 0;
    for (const float logit : logits.row_span(t)) maximum = std::max<double>(maximum, logit);
    for (const float logit : logits.row_span(t)) total += std::exp(logit - maximum);
    sum += maximum + std::log(total) - logits.at(t, ids[t + 1]);
  }
  return sum / static_cast<double>(logits.rows - 1);
}

void CheckModel(const std::string& folder, const std::string& config_name) {
  SCOPED_TRACE(folder + "/" + config_name);
  ASSERT_OK_AND_ASSIGN(SafetensorsFile file, SafetensorsFile::Open(folder + "/golden.safetensors"));
  const Golden golden(std::move(file));
  ASSERT_OK_AND_ASSIGN(const Json facts, ReadJsonFile(folder + "/golden.json"));
  const Json& advice = facts.at("tolerance_advice");
  ASSERT_OK_AND_ASSIGN(std::shared_ptr<const WeightSource> weights, OpenCheckpoint(folder));
  ASSERT_OK_AND_ASSIGN(ModelConfig config, ReadModelConfig(folder + "/" + config_name));
  ASSERT_OK_AND_ASSIGN(const auto model, Transformer::Create(config, weights));
  ASSERT_OK_AND_ASSIGN(const auto context, ExecutionContext::Create({.threads = 2}));
  ASSERT_OK_AND_ASSIGN(const Head head, model->LoadHead());
  // Ten times what the reference itself loses in float32; see golden/README.md.
  const double logits_tolerance = advice.at("float32_logits_max_abs").get<double>();
  const double hidden_tolerance = advice.at("float32_hidden_max_abs_over_max").get<double>();
  const double loss_tolerance = advice.at("float32_loss_max_abs").get<double>();
  const std::vector<double> losses = golden.Doubles("loss_per_sequence");

  for (int64_t s = 0; s < static_cast<int64_t>(losses.size()); ++s) {
    const std::vector<int32_t> ids = golden.Ids(s);
    Matrix hidden(static_cast<int64_t>(ids.size()), model->config().hidden_size);
    const size_t offset = static_cast<size_t>(s * hidden.size());
    ASSERT_OK(model->Embed(*context, ids, 0, hidden.view()));
    EXPECT_LE(WorstOverMaximum(hidden.view(), golden.Doubles("hidden.embedding"), offset), hidden_tolerance);
    InputRecorder recorder;
    for (int b = 0; b < model->config().blocks; ++b) {
      ASSERT_OK_AND_ASSIGN(const Block block, model->LoadBlock(b));
      ASSERT_OK(
          model->ForwardBlock(*context, block, {.observer = b == 0 && s == 0 ? &recorder : nullptr}, hidden.view()));
      EXPECT_LE(WorstOverMaximum(hidden.view(), golden.Doubles("hidden." + std::to_string(b)), offset),
                hidden_tolerance)
          << "block " << b;
    }
    Matrix logits(hidden.rows(), model->config().vocabulary_size);
    model->Logits(*context, head, hidden.view(), logits.view());
    EXPECT_LE(WorstDifference(logits.view(), golden.Doubles("logits"), static_cast<size_t>(s * logits.size())),
              logits_tolerance);
    EXPECT_NEAR(MeanLoss(logits.view(), ids), losses[s], loss_tolerance);
    if (s != 0) continue;
    for (const std::string& name : golden.NamesWithPrefix("input.0.")) {
      const std::string module = name.substr(8, name.size() - 8 - std::string(".weight").size());
      const auto it = recorder.inputs.find(module);
      ASSERT_NE(it, recorder.inputs.end()) << module;
      EXPECT_LE(WorstOverMaximum(it->second.view(), golden.Doubles(name)), hidden_tolerance) << module;
    }
  }
}

// Returns how many models were compared.
int CheckFolder(const std::string& root) {
  return ForEachGoldenModel(root, [](const std::string& folder) {
    for (const char* config : {"config.json", "config_legacy.json"}) CheckModel(folder, config);
  });
}

TEST(GoldenModels, CommittedOnesAgreeWithFloat64) {
  EXPECT_EQ(CheckFolder(SourcePath("tests/data/arch")), 3);
}

TEST(GoldenModels, AllSupportedOnesAgreeWithFloat64) {
  const auto root = GoldenPath("arch");
  SKIP_UNLESS_PRESENT(root, "golden/arch");
  EXPECT_GE(CheckFolder(*root), 1);
}

Matrix HiddenWithThreads(const std::string& folder, int threads) {
  const auto context = *ExecutionContext::Create({.threads = threads});
  const auto model = *Transformer::Open(folder, std::shared_ptr<const WeightSource>(*OpenCheckpoint(folder)));
  std::vector<int32_t> ids(150);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 31 % model->config().vocabulary_size);
  Matrix hidden(static_cast<int64_t>(ids.size()), model->config().hidden_size);
  EXPECT_OK(model->Embed(*context, ids, 0, hidden.view()));
  for (int b = 0; b < model->config().blocks; ++b) {
    EXPECT_OK(model->ForwardBlock(*context, *model->LoadBlock(b), {}, hidden.view()));
  }
  return hidden;
}

TEST(Forward, IsBitEqualForAnyNumberOfThreads) {
  const std::string folder = SourcePath("data/models/quantd-tiny-llama");
  const Matrix one = HiddenWithThreads(folder, 1);
  for (const int threads : {2, 3}) {
    const Matrix more = HiddenWithThreads(folder, threads);
    EXPECT_EQ(std::memcmp(one.data(), more.data(), static_cast<size_t>(one.size()) * sizeof(float)), 0) << threads;
  }
}

TEST(KvCache, TokenByTokenEqualsWholeSequence) {
  for (const char* name : {"llama", "opt", "bloom"}) {
    SCOPED_TRACE(name);
    const std::string folder = SourcePath(std::string("tests/data/arch/") + name);
    const auto context = *ExecutionContext::Create({.threads = 1});
    const auto model = *Transformer::Open(folder, std::shared_ptr<const WeightSource>(*OpenCheckpoint(folder)));
    const std::vector<int32_t> ids = {7, 30, 12, 99, 4, 200, 31};
    const int64_t width = model->config().hidden_size;
    Matrix whole(static_cast<int64_t>(ids.size()), width), stepped(static_cast<int64_t>(ids.size()), width);
    KvCache cache(model->config(), 16);
    ASSERT_OK(model->Embed(*context, ids, 0, whole.view()));
    for (int b = 0; b < model->config().blocks; ++b) {
      ASSERT_OK(model->ForwardBlock(*context, *model->LoadBlock(b), {}, whole.view()));
    }
    for (size_t t = 0; t < ids.size(); ++t) {
      const MutableMatrixView row = stepped.view().Rows(static_cast<int64_t>(t), 1);
      ASSERT_OK(model->Embed(*context, absl::MakeConstSpan(&ids[t], 1), cache.length(), row));
      for (int b = 0; b < model->config().blocks; ++b) {
        const ForwardOptions options{.first_position = cache.length(), .cache = &cache};
        ASSERT_OK(model->ForwardBlock(*context, *model->LoadBlock(b), options, row));
      }
      cache.Advance(1);
    }
    // Both sum the same products in another order; the golden tolerance for hidden states bounds that.
    for (int64_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(whole.data()[i], stepped.data()[i], 1e-4);
  }
}

}  // namespace
}  // namespace quantd
