// Divergence of trained models from their round-to-nearest versions, against an independent implementation
// (golden/divergence.json). The rounding is written out here: symmetric, one scale a row, in f32:
//   scale = max|w| / (2^(B-1) - 1), w' = clip(round half to even(w / scale), -2^(B-1), 2^(B-1) - 1) scale.
//
// Tolerance: a divergence is a difference of two mean log-likelihoods, and each moves by at most 2.5e-7 nats between
// implementations (golden README), 5e-7 together. Where rounding has ruined the model its logits are larger and so is
// their noise: 1e-5 of the divergence on top.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/eval/evaluate.h"
#include "core/formats/checkpoint.h"
#include "tests/core/eval/golden_entry.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

double Tolerance(double mean_divergence) {
  return 5e-7 + 1e-5 * mean_divergence;
}

void RoundRow(absl::Span<float> row, int bits) {
  const float top = static_cast<float>((1 << (bits - 1)) - 1);
  float largest = 0;
  for (const float value : row) largest = std::max(largest, std::abs(value));
  const float scale = largest > 0 ? largest / top : 1;
  for (float& value : row) value = std::clamp(std::nearbyint(value / scale), -top - 1, top) * scale;
}

// A model whose linear layers are rounded as they are read.
class RoundedWeights : public WeightSource {
 public:
  RoundedWeights(std::shared_ptr<const WeightSource> base, const std::vector<LinearSite>& sites, int bits)
      : base_(std::move(base)), bits_(bits) {
    for (const LinearSite& site : sites) rounded_.insert(site.name + ".weight");
  }
  const std::string& path() const override { return base_->path(); }
  std::vector<std::string> Names() const override { return base_->Names(); }
  bool Has(absl::string_view name) const override { return base_->Has(name); }
  absl::StatusOr<std::vector<int64_t>> Shape(absl::string_view name) const override { return base_->Shape(name); }
  absl::Status ReadRows(absl::string_view name, int64_t first, int64_t rows, absl::Span<float> out) const override {
    RETURN_IF_ERROR(base_->ReadRows(name, first, rows, out));
    if (rounded_.count(std::string(name)) == 0) return absl::OkStatus();
    const size_t cols = out.size() / static_cast<size_t>(rows);
    for (int64_t r = 0; r < rows; ++r) RoundRow(out.subspan(static_cast<size_t>(r) * cols, cols), bits_);
    return absl::OkStatus();
  }
  absl::StatusOr<Dtype> StoredDtype(absl::string_view name) const override { return base_->StoredDtype(name); }
  absl::StatusOr<absl::Span<const char>> StoredTensorBytes(absl::string_view name) const override {
    return base_->StoredTensorBytes(name);
  }
  uint64_t StoredBytes() const override { return base_->StoredBytes(); }

 private:
  std::shared_ptr<const WeightSource> base_;
  std::set<std::string> rounded_;
  int bits_;
};

absl::StatusOr<std::unique_ptr<Transformer>> OpenRounded(const GoldenCase& golden, int bits) {
  ASSIGN_OR_RETURN(std::shared_ptr<const WeightSource> weights, OpenCheckpoint(golden.folder));
  return Transformer::Open(golden.folder,
                           std::make_shared<RoundedWeights>(std::move(weights), golden.model->sites(), bits));
}

void CheckEntry(const Json& entry, GoldenCase& golden) {
  ASSERT_EQ(static_cast<int64_t>(golden.model->sites().size()), entry["rounded"]["linear_weights"].get<int64_t>());
  const Json& expected = entry["first_5_windows_kl_sum"];
  const int64_t windows = KeepFirstWindows(golden, static_cast<int64_t>(expected.size()));
  ASSERT_GE(windows, 1);
  const auto context = *ExecutionContext::Create({.threads = 2});
  ASSERT_OK_AND_ASSIGN(const auto rounded, OpenRounded(golden, entry["rounded"]["bits"]));
  ASSERT_OK_AND_ASSIGN(const Comparison result, CompareModels(*context, *golden.model, *rounded, golden.tokens, {}));
  for (int64_t w = 0; w < windows; ++w) {
    const double targets = static_cast<double>(result.original.window_scores[w].targets);
    const double mean = expected[w].get<double>() / targets;
    EXPECT_NEAR(result.kl.window_sums[w] / targets, mean, Tolerance(mean)) << "window " << w;
  }
}

int CheckEntries(const std::string& path, const std::function<bool(const std::string&)>& wanted) {
  const auto entries = ReadJsonFile(path);
  EXPECT_OK(entries);
  return ForEachGoldenEntry(
      *entries, wanted, [](const std::string&, const Json& entry, GoldenCase& golden) { CheckEntry(entry, golden); });
}

TEST(GoldenDivergence, OfTheEmbeddedModels) {
  EXPECT_EQ(CheckEntries(SourcePath("tests/data/divergence.json"), [](const std::string&) { return true; }), 2);
}

TEST(GoldenDivergence, OfEveryModelInTheFolder) {
  const auto path = GoldenPath("divergence.json");
  SKIP_UNLESS_PRESENT(path, "golden/divergence.json");
  const int checked = CheckEntries(*path, [](const std::string& name) { return !IsSmolLm2(name); });
  if (checked == 0) GTEST_SKIP() << "SKIPPED: none of the models of golden/divergence.json is here";
}

TEST(GoldenDivergence, OfSmolLm2) {
  const auto path = GoldenPath("divergence.json");
  SKIP_UNLESS_PRESENT(path, "golden/divergence.json");
  if (CheckEntries(*path, IsSmolLm2) == 0) GTEST_SKIP() << "SKIPPED: set QUANTD_SMOLLM2 to its folder to run this test";
}

}  // namespace
}  // namespace quantd
