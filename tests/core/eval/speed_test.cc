// What can be said of a speed without a timed test: it is there, it fits the model's context, and it refuses to start
// where the weights do not fit.
#include "core/eval/speed.h"

#include <cmath>

#include "core/formats/checkpoint.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

std::unique_ptr<Transformer> OpenModel(const std::string& name) {
  const std::string folder = SourcePath("tests/data/arch/" + name);
  auto weights = OpenCheckpoint(folder);
  EXPECT_OK(weights);
  auto model = Transformer::Open(folder, std::shared_ptr<const WeightSource>(*std::move(weights)));
  EXPECT_OK(model);
  return *std::move(model);
}

TEST(MeasureSpeed, MeasuresBothKindsForEveryFamily) {
  const auto context = *ExecutionContext::Create({.threads = 2});
  for (const char* name : {"llama", "opt", "bloom"}) {
    SCOPED_TRACE(name);
    ASSERT_OK_AND_ASSIGN(const Speed speed, MeasureSpeed(*context, *OpenModel(name),
                                                         {.prefill_tokens = 8, .decode_tokens = 3, .repetitions = 2}));
    EXPECT_GT(speed.prefill_tokens_per_second, 0);
    EXPECT_GT(speed.decode_tokens_per_second, 0);
    EXPECT_TRUE(std::isfinite(speed.prefill_tokens_per_second) && std::isfinite(speed.decode_tokens_per_second));
  }
}

TEST(MeasureSpeed, StaysWithinTheModelsContext) {
  const auto context = *ExecutionContext::Create({.threads = 1});
  const auto model = OpenModel("opt");
  const int64_t limit = model->config().context;
  ASSERT_GT(limit, 1);
  for (const auto& [prefill, decode] : std::vector<std::pair<int64_t, int64_t>>{{limit, limit}, {limit + 5, 1}}) {
    EXPECT_OK(MeasureSpeed(*context, *model, {.prefill_tokens = prefill, .decode_tokens = decode, .repetitions = 1}));
  }
}

TEST(MeasureSpeed, RefusesWeightsAboveTheMemoryBudget) {
  const auto context = *ExecutionContext::Create({.threads = 1, .memory_budget_bytes = 1000});
  EXPECT_THAT(MeasureSpeed(*context, *OpenModel("llama"), {}), FailsWith("SPEED_NEEDS_MEMORY", "1000 bytes"));
}

TEST(MeasureSpeed, RefusesLengthsOutOfRange) {
  const auto context = *ExecutionContext::Create({.threads = 1});
  const auto model = OpenModel("llama");
  for (const SpeedOptions& options :
       {SpeedOptions{0, 1, 1}, SpeedOptions{1, 0, 1}, SpeedOptions{1, 1, 0}, SpeedOptions{int64_t{1} << 40, 1, 1}}) {
    EXPECT_THAT(MeasureSpeed(*context, *model, options), FailsWith("SPEED_OPTIONS_OUT_OF_RANGE", "prefill tokens"));
  }
}

}  // namespace
}  // namespace quantd
