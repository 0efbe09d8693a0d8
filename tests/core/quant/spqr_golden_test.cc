// Codes, outliers, scales and weights of the SpQR authors' own code, case by case.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/quant/bit_stream.h"
#include "core/quant/quantize_site.h"
#include "core/quant/two_level_weight.h"
#include "tests/core/quant/golden_case.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// The authors' symmetric second level gives zero points, which are positive, half of the range and shifts it: nothing a
// recipe should offer.
bool IsOffered(const Json& entry) {
  return !entry["options"]["qq_zero_sym"].get<bool>();
}

// Their mean diagonal counts dead columns as zeros, ours leaves them out.
double DampingFor(double authors_damping, const Matrix& hessian) {
  int64_t living = 0;
  for (int64_t i = 0; i < hessian.rows(); ++i) living += hessian.at(i, i) > 0 ? 1 : 0;
  return authors_damping * static_cast<double>(living) / static_cast<double>(hessian.rows());
}

Json OverridesFor(const Json& options, const Matrix& hessian) {
  const auto or_zero = [](const Json& bits) { return bits.is_null() ? Json(0) : bits; };
  Json overrides = {{"bits", options["bits"]},
                    {"group_size", options["groupsize"].is_null() ? Json(-1) : options["groupsize"]},
                    {"act_order", options["permutation"] == "act_order"},
                    {"damping", DampingFor(options["percdamp"], hessian)},
                    {"outliers", options["threshold"].is_null()      ? "none"
                                 : options["simplified"].get<bool>() ? "simple"
                                                                     : "leave_one_out"},
                    {"symmetric", options["sym"]},
                    {"round_zero", options["round_zero"].is_boolean() && options["round_zero"].get<bool>()},
                    {"scale_bits", or_zero(options["qq_scale_bits"])},
                    {"zero_bits", or_zero(options["qq_zero_bits"])},
                    {"tile_rows", options["qq_groupsize"]},
                    {"solver_block_size", options["blocksize"]},
                    {"equal_values", "authors"},
                    {"scale_dtype", "f32"},
                    {"outlier_dtype", "f32"}};
  if (!options["threshold"].is_null()) overrides["outlier_threshold"] = options["threshold"];
  if (options["sym"].get<bool>()) overrides["symmetric_range"] = "authors";
  return overrides;
}

// One linear of one entry: `prefix` is of its tensors, `compare` its tolerances.
class GoldenWeight {
 public:
  GoldenWeight(GoldenFiles& files, const std::string& file, std::string prefix, const Json& compare,
               const Matrix& hessian)
      : files_(files), file_(file), prefix_(std::move(prefix)), compare_(compare) {
    for (int64_t i = 0; i < hessian.rows(); ++i) living_.push_back(hessian.at(i, i) > 0);
    for (const Json& row : compare["unstable_rows"]) unstable_.insert(row.get<int64_t>());
  }

  void Compare(const QuantizedWeight& weight) {
    SCOPED_TRACE(prefix_);
    ASSERT_EQ(weight.kind(), "two_level");
    const auto& two_level = static_cast<const TwoLevelWeight&>(weight);
    CompareCodes(two_level);
    CompareOutliers(two_level);
    if (two_level.layout().scales == TwoLevelStorage::kTiled) {
      CompareTiled("scale", two_level.layout(), two_level.layout().scale_bits, two_level.tensors().scales);
    }
    if (two_level.layout().zeros == TwoLevelStorage::kTiled) {
      CompareTiled("zero", two_level.layout(), two_level.layout().zero_bits, two_level.tensors().zeros);
    }
    CompareDecoded(two_level);
  }

 private:
  Matrix Read(const std::string& tensor) { return files_.Read(file_, prefix_ + tensor); }
  bool IsStable(int64_t row) const { return unstable_.count(row) == 0; }

  // Those of outliers too: the code of 0.
  void CompareCodes(const TwoLevelWeight& weight) {
    const Matrix expected = Read("codes");
    std::vector<uint8_t> codes(weight.cols());
    for (int64_t r = 0; r < weight.rows(); ++r) {
      if (!IsStable(r)) continue;
      weight.CodesOfRow(r, absl::MakeSpan(codes));
      for (int64_t c = 0; c < weight.cols(); ++c) ASSERT_EQ(codes[c], expected.at(r, c)) << "row " << r << " col " << c;
    }
  }

  void CompareOutliers(const TwoLevelWeight& weight) {
    const Matrix expected = Read("outlier_mask");
    for (int64_t r = 0; r < weight.rows(); ++r) {
      if (!IsStable(r)) continue;
      std::vector<int32_t> columns;
      for (int32_t c = 0; c < weight.cols(); ++c) {
        if (expected.at(r, c) != 0 && living_[c]) columns.push_back(c);
      }
      ASSERT_EQ(weight.OutlierColumnsOfRow(r), columns) << "row " << r;
    }
  }

  // Theirs are [groups, tiles, rows of a tile]. What the codes mean is compared with the weights.
  void CompareTiled(const std::string& name, const TwoLevelLayout& layout, int bits, const TiledTensors& tiled) {
    const Matrix expected = Read(name + "_codes");
    std::vector<uint8_t> codes(layout.groups());
    for (int64_t r = 0; r < layout.rows; ++r) {
      if (!IsStable(r)) continue;
      UnpackBits(tiled.codes.data() + r * PackedBytes(layout.groups(), bits), layout.groups(), bits, codes.data());
      for (int64_t g = 0; g < layout.groups(); ++g) {
        const int64_t tile = g * layout.tiles() + r / layout.tile_rows;
        ASSERT_EQ(codes[g], expected.at(tile, r % layout.tile_rows)) << name << " row " << r << " group " << g;
      }
    }
  }

  void CompareDecoded(const TwoLevelWeight& weight) {
    const Matrix expected = Read("weight");
    const Matrix decoded = weight.Decode();
    float largest = 0;
    for (float value : expected.span()) largest = std::max(largest, std::abs(value));
    const Json& difference = compare_["weight_max_abs_diff_f32_f64"];  // null when no row is stable
    const float tolerance = std::max(difference.is_null() ? 0.0f : 10 * difference.get<float>(), 1e-6f * largest);
    for (int64_t r = 0; r < weight.rows(); ++r) {
      if (!IsStable(r)) continue;
      for (int64_t c = 0; c < weight.cols(); ++c) {
        if (!living_[c]) continue;
        ASSERT_NEAR(decoded.at(r, c), expected.at(r, c), tolerance) << "row " << r << " column " << c;
      }
    }
  }

  GoldenFiles& files_;
  const std::string file_;
  const std::string prefix_;
  const Json& compare_;
  std::set<int64_t> unstable_;
  // Of a dead column theirs keeps zeros as outliers where the grid is coarse: its cost is 1 there, and 0 with us.
  // Nothing else depends on it.
  std::vector<bool> living_;
};

void CheckCases(const std::string& folder) {
  GoldenFiles files(folder);
  const auto context = TestContext();
  int checked = 0;
  for (const Json& entry : GoldenEntries(folder, "spqr")) {
    if (!IsOffered(entry)) continue;
    const Matrix weight = files.Read(entry["inputs"], "W");
    const Matrix hessian = files.Read(entry["inputs"], "H");
    const SitePlan plan = TestPlan("spqr", OverridesFor(entry["options"], hessian), weight.rows(), weight.cols());
    ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*context, plan, weight.view(), hessian));
    const std::string id = entry["id"];
    GoldenWeight(files, entry["file"], absl::StrCat(id.substr(id.find('/') + 1), "."), entry["compare"], hessian)
        .Compare(*result.weight);
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

// The same code under the sensitivity from gradients: one entry has all linears of a block, each with the options that
// differ from the code's own.
void CheckOutputAdaptiveCases(const std::string& folder) {
  const Json defaults = {
      {"permutation", "identity"}, {"threshold", Json()}, {"simplified", false}, {"sym", false},
      {"round_zero", Json()},      {"qq_scale_bits", 3},  {"qq_zero_bits", 3},   {"qq_groupsize", 16},
      {"blocksize", 128}};
  GoldenFiles files(folder);
  const auto context = TestContext();
  int checked = 0;
  for (const Json& entry : GoldenEntries(folder, "oac")) {
    if (entry["options"].value("backend", "") != "spqr") continue;
    for (const auto& [linear, compare] : entry["compare"].items()) {
      const std::string checkpoint = absl::StrCat(entry["inputs"].get<std::string>(), "/model.safetensors");
      const Matrix weight = files.Read(checkpoint, absl::StrCat("model.layers.0.", linear, ".weight"));
      const Matrix hessian = files.Read("oac/hessians.safetensors", absl::StrCat("H.", linear));
      Json options = defaults;
      options.update(compare["options"]);
      const SitePlan plan = TestPlan("spqr", OverridesFor(options, hessian), weight.rows(), weight.cols());
      ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*context, plan, weight.view(), hessian));
      GoldenWeight(files, entry["file"], absl::StrCat(linear, "."), compare, hessian).Compare(*result.weight);
      ++checked;
    }
  }
  EXPECT_GT(checked, 0);
}

TEST(SpqrGolden, StoredCasesMatch) {
  CheckCases(SourcePath("tests/data/quant"));
}

TEST(SpqrGolden, SharedOutputAdaptiveCasesMatch) {
  const auto folder = GoldenPath("quant");
  SKIP_UNLESS_PRESENT(folder, "golden/quant");
  CheckOutputAdaptiveCases(*folder);
}

TEST(SpqrGolden, SharedCasesMatch) {
  const auto folder = GoldenPath("quant");
  SKIP_UNLESS_PRESENT(folder, "golden/quant");
  CheckCases(*folder);
}

}  // namespace
}  // namespace quantd
