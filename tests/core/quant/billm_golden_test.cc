// Masks and weights of the BiLLM authors' own code, case by case.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/quant/bit_stream.h"
#include "core/quant/quantize_site.h"
#include "core/quant/residual_binary_weight.h"
#include "tests/core/quant/golden_case.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// Cases without compensation have one block: there is nothing to compensate.
Json OverridesFor(const Json& options) {
  return {{"binary_block_size", options["blocksize"]},
          {"saliency", options.value("salient_metric", "hessian")},
          {"damping", options.value("percdamp", 0.01)},
          {"dead_columns", "authors"},
          {"scale_dtype", "f32"}};
}

// The authors' masks: 1 low, 2 high, 3 salient.
std::vector<int> MasksOfRow(const ResidualBinaryWeight& weight, int64_t row) {
  std::vector<uint8_t> high(weight.cols());
  UnpackBits(weight.tensors().second_bits.data() + row * PackedBytes(weight.cols(), 1), weight.cols(), 1, high.data());
  std::vector<int> masks(weight.cols());
  for (int64_t c = 0; c < weight.cols(); ++c) masks[c] = weight.IsSalient(c) ? 3 : high[c] != 0 ? 2 : 1;
  return masks;
}

struct GoldenWeight {
  std::string file;
  std::string prefix;  // of its tensors
  const Json& compare;
};

void Compare(GoldenFiles& files, const GoldenWeight& golden, const QuantizedWeight& result) {
  SCOPED_TRACE(golden.prefix);
  ASSERT_EQ(result.kind(), "residual_binary");
  const auto& weight = static_cast<const ResidualBinaryWeight&>(result);
  const Matrix masks = files.Read(golden.file, golden.prefix + "masks");
  const Matrix expected = files.Read(golden.file, golden.prefix + "weight");
  const Matrix decoded = weight.Decode();
  float largest = 0;
  for (float value : expected.span()) largest = std::max(largest, std::abs(value));
  const Json& difference = golden.compare["weight_max_abs_diff_f32_f64"];
  const float tolerance = std::max(10 * difference.get<float>(), 1e-6f * largest);
  std::set<int64_t> unstable;
  for (const Json& row : golden.compare["unstable_rows"]) unstable.insert(row.get<int64_t>());
  for (int64_t r = 0; r < weight.rows(); ++r) {
    if (unstable.count(r) > 0) continue;
    const std::vector<int> ours = MasksOfRow(weight, r);
    for (int64_t c = 0; c < weight.cols(); ++c) {
      ASSERT_EQ(ours[c], masks.at(r, c)) << "row " << r << " column " << c;
      ASSERT_NEAR(decoded.at(r, c), expected.at(r, c), tolerance) << "row " << r << " column " << c;
    }
  }
}

void CheckCases(const std::string& folder) {
  GoldenFiles files(folder);
  const auto context = TestContext();
  const std::vector<Json> entries = GoldenEntries(folder, "billm");
  EXPECT_FALSE(entries.empty());
  for (const Json& entry : entries) {
    const Matrix weight = files.Read(entry["inputs"], "W");
    const Matrix hessian = files.Read(entry["inputs"], "H");
    const SitePlan plan = TestPlan("billm", OverridesFor(entry["options"]), weight.rows(), weight.cols());
    ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*context, plan, weight.view(), hessian));
    const std::string id = entry["id"];
    Compare(files, {entry["file"], absl::StrCat(id.substr(id.find('/') + 1), "."), entry["compare"]}, *result.weight);
  }
}

// The same code under the sensitivity from gradients: one entry has all linears of a block.
void CheckOutputAdaptiveCases(const std::string& folder) {
  GoldenFiles files(folder);
  const auto context = TestContext();
  int checked = 0;
  for (const Json& entry : GoldenEntries(folder, "oac")) {
    if (entry["options"].value("backend", "") != "billm") continue;
    for (const auto& [linear, compare] : entry["compare"].items()) {
      const std::string checkpoint = absl::StrCat(entry["inputs"].get<std::string>(), "/model.safetensors");
      const Matrix weight = files.Read(checkpoint, absl::StrCat("model.layers.0.", linear, ".weight"));
      const Matrix hessian = files.Read("oac/hessians.safetensors", absl::StrCat("H.", linear));
      const SitePlan plan = TestPlan("billm", OverridesFor(compare["options"]), weight.rows(), weight.cols());
      ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*context, plan, weight.view(), hessian));
      Compare(files, {entry["file"], absl::StrCat(linear, "."), compare}, *result.weight);
      ++checked;
    }
  }
  EXPECT_GT(checked, 0);
}

TEST(BillmGolden, StoredCasesMatch) {
  CheckCases(SourcePath("tests/data/quant"));
}

TEST(BillmGolden, SharedOutputAdaptiveCasesMatch) {
  const auto folder = GoldenPath("quant");
  SKIP_UNLESS_PRESENT(folder, "golden/quant");
  CheckOutputAdaptiveCases(*folder);
}

TEST(BillmGolden, SharedCasesMatch) {
  const auto folder = GoldenPath("quant");
  SKIP_UNLESS_PRESENT(folder, "golden/quant");
  CheckCases(*folder);
}

}  // namespace
}  // namespace quantd
