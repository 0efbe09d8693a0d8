// Codes, scales, zeros and weights of the GPTQ authors' own code, case by case.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/quant/quantize_site.h"
#include "core/quant/sensitivity.h"
#include "core/quant/uniform_weight.h"
#include "tests/core/quant/golden_case.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// A value this close to a rounding tie, in steps, may go either way (README of the golden folder).
constexpr float kTieMargin = 1e-6f;

Recipe RecipeOf(const Json& options) {
  Json overrides = {{"bits", options["bits"]},
                    {"group_size", options["groupsize"]},
                    {"symmetric", options["symmetric"]},
                    {"clip_search", options["mse"].get<bool>() ? "mse" : "none"},
                    {"scale_dtype", "f32"},
                    {"per_row", options["per_row"]},
                    {"damping", options["percdamp"]},
                    {"act_order", options["act_order"]},
                    {"static_groups", options["static_groups"]},
                    {"solver_block_size", options["blocksize"]},
                    {"dead_columns", "authors"}};
  if (options["symmetric"].get<bool>()) overrides["symmetric_range"] = "authors";
  return MakeRecipe("gptq", overrides, {}).value();
}

SitePlan PlanFor(const Recipe& recipe, const Matrix& weight) {
  const LinearSite site{.name = "golden", .rows = weight.rows(), .cols = weight.cols(), .scheme_group = "", .norm = ""};
  // Not through PlanSites: some cases end in a shorter group, which plans refuse and grids and solvers handle.
  return {site, false, recipe.parameters};
}

std::unique_ptr<ExecutionContext> Context() {
  return ExecutionContext::Create({.threads = 2}).value();
}

class GoldenCase {
 public:
  GoldenCase(GoldenFiles& files, const Json& entry) : files_(files), entry_(entry) {
    const std::string id = entry["id"];
    prefix_ = absl::StrCat(id.substr(id.find('/') + 1), ".");
    for (const Json& row : entry["compare"]["unstable_rows"]) unstable_.insert(row.get<int64_t>());
  }

  void Check(const ExecutionContext& context) {
    const Matrix weight = files_.Read(entry_["inputs"], "W");
    const Matrix hessian = files_.Read(entry_["inputs"], "H");
    ASSERT_OK_AND_ASSIGN(const SiteResult result,
                         QuantizeSite(context, PlanFor(RecipeOf(entry_["options"]), weight), weight.view(), hessian));
    ASSERT_EQ(result.weight->kind(), "uniform");
    const auto& uniform = static_cast<const UniformWeight&>(*result.weight);
    CompareCodes(uniform);
    CompareScales(uniform);
    CompareDecoded(uniform);
    CompareLoss(result, weight, hessian);
  }

 private:
  Matrix Read(const std::string& tensor) { return files_.Read(entry_["file"], prefix_ + tensor); }

  void CompareCodes(const UniformWeight& uniform) {
    const Matrix expected = Read("codes");
    const Matrix margins = Read("row_margin");
    std::vector<uint8_t> codes(uniform.cols());
    for (int64_t r = 0; r < uniform.rows(); ++r) {
      if (unstable_.count(r) > 0 || margins.span()[r] < kTieMargin) continue;
      uniform.CodesOfRow(r, absl::MakeSpan(codes));
      for (int64_t c = 0; c < uniform.cols(); ++c) {
        ASSERT_EQ(codes[c], expected.at(r, c))
            << entry_["id"] << " row " << r << " column " << c << ", margin " << margins.span()[r];
      }
    }
  }

  void CompareScales(const UniformWeight& uniform) {
    const Matrix scales = Read("scales");
    const Matrix zeros = Read("zeros");
    // Ten times the references' own f32 rounding, and at least that of a scale's few operations in f32.
    const float tolerance = std::max(10 * entry_["compare"]["scale_max_rel_diff_f32_f64"].get<float>(), 0x1p-22f);
    std::vector<float> our_scales(uniform.layout().groups());
    std::vector<uint8_t> our_zeros(uniform.layout().groups());
    for (int64_t r = 0; r < uniform.rows(); ++r) {
      if (unstable_.count(r) > 0) continue;
      const int64_t stored_row = scales.rows() == 1 ? 0 : r;  // one for all rows
      uniform.ScalesOfRow(r, absl::MakeSpan(our_scales));
      uniform.ZerosOfRow(r, absl::MakeSpan(our_zeros));
      for (int64_t g = 0; g < uniform.layout().groups(); ++g) {
        const float scale = scales.at(stored_row, g);
        EXPECT_NEAR(our_scales[g], scale, tolerance * scale) << entry_["id"] << " row " << r << " group " << g;
        EXPECT_EQ(our_zeros[g], zeros.at(stored_row, g)) << entry_["id"] << " row " << r << " group " << g;
      }
    }
  }

  void CompareDecoded(const UniformWeight& uniform) {
    const Matrix expected = Read("Q");
    const Matrix decoded = uniform.Decode();
    float largest = 0;
    for (float value : expected.span()) largest = std::max(largest, std::abs(value));
    const float tolerance = std::max(10 * entry_["compare"]["Q_max_abs_diff_f32_f64"].get<float>(), 1e-6f * largest);
    for (int64_t r = 0; r < uniform.rows(); ++r) {
      if (unstable_.count(r) > 0) continue;
      for (int64_t c = 0; c < uniform.cols(); ++c) {
        ASSERT_NEAR(decoded.at(r, c), expected.at(r, c), tolerance) << entry_["id"] << " row " << r << " column " << c;
      }
    }
  }

  // The authors' printed loss is the squared error under the damped H: sum e^2 / 2 with e = (w - q) / U_jj. Ours is
  // measured under H itself, so that it must be lower, and by less than the damping term.
  void CompareLoss(const SiteResult& result, const Matrix& weight, const Matrix& hessian) {
    if (result.dead_columns > 0) return;  // theirs leaves out what zeroing dead weights does to the damping term
    double norm = 0;
    double mean_diagonal = 0;
    for (int64_t i = 0; i < hessian.rows(); ++i)
      mean_diagonal += hessian.at(i, i) / static_cast<double>(hessian.rows());
    for (int64_t r = 0; r < weight.rows(); ++r) {
      for (int64_t i = 0; i < weight.cols(); ++i) {
        double product = 0;
        for (int64_t j = 0; j < weight.cols(); ++j) product += static_cast<double>(hessian.at(i, j)) * weight.at(r, j);
        norm += product * weight.at(r, i);
      }
    }
    const Matrix decoded = result.weight->Decode();
    double squared_difference = 0;
    for (int64_t i = 0; i < weight.size(); ++i) {
      const double difference = static_cast<double>(decoded.span()[i]) - weight.span()[i];
      squared_difference += difference * difference;
    }
    const double loss = result.relative_squared_error * norm / 2;
    const double damping_term = result.damping * mean_diagonal * squared_difference / 2;
    const double authors = entry_["compare"]["loss_f64"];
    // Unstable rows may differ by a step in a code.
    const double share = unstable_.empty() ? 1e-3 : 0.05;
    EXPECT_NEAR(loss + damping_term, authors, share * authors) << entry_["id"];
  }

  GoldenFiles& files_;
  const Json& entry_;
  std::string prefix_;
  std::set<int64_t> unstable_;
};

void CheckSolver(const std::string& folder) {
  const std::vector<Json> entries = GoldenEntries(folder, "gptq");
  ASSERT_FALSE(entries.empty());
  GoldenFiles files(folder);
  const auto context = Context();
  for (const Json& entry : entries) GoldenCase(files, entry).Check(*context);
}

// H from the stored calibration inputs, one AddInputs a sequence.
void CheckSensitivity(const std::string& folder) {
  GoldenFiles files(folder);
  const auto context = Context();
  std::set<std::string> seen;
  for (const Json& entry : GoldenEntries(folder, "gptq")) {
    const std::string inputs = entry["inputs"];
    if (!files.Has(inputs, "X") || !seen.insert(inputs).second) continue;
    const Matrix weight = files.Read(inputs, "W");
    const Matrix expected = files.Read(inputs, "H");
    const Matrix x = files.Read(inputs, "X");
    const int64_t sequences = files.Shape(inputs, "X")[0];
    ASSERT_OK_AND_ASSIGN(const auto sensitivity, MakeSensitivity(PlanFor(RecipeOf(entry["options"]), weight)));
    for (int64_t s = 0; s < sequences; ++s) {
      const int64_t tokens = x.rows() / sequences;
      ASSERT_OK(sensitivity->AddInputs(*context, x.view().Rows(s * tokens, tokens)));
    }
    ASSERT_OK_AND_ASSIGN(const Matrix hessian, sensitivity->Finish(*context));
    float largest = 0;
    for (float value : expected.span()) largest = std::max(largest, std::abs(value));
    const float tolerance = 10 * entry["compare"]["H_max_rel_diff_f32_f64"].get<float>() * largest;
    for (int64_t i = 0; i < hessian.size(); ++i) {
      ASSERT_NEAR(hessian.span()[i], expected.span()[i], tolerance) << inputs << " element " << i;
    }
  }
  EXPECT_FALSE(seen.empty());
}

TEST(GptqGolden, StoredCasesMatch) {
  CheckSolver(SourcePath("tests/data/quant"));
}
TEST(GptqGolden, StoredSensitivityMatches) {
  CheckSensitivity(SourcePath("tests/data/quant"));
}

TEST(GptqGolden, SharedCasesMatch) {
  const auto folder = GoldenPath("quant");
  SKIP_UNLESS_PRESENT(folder, "golden/quant");
  CheckSolver(*folder);
}

TEST(GptqGolden, SharedSensitivitiesMatch) {
  const auto folder = GoldenPath("quant");
  SKIP_UNLESS_PRESENT(folder, "golden/quant");
  CheckSensitivity(*folder);
}

}  // namespace
}  // namespace quantd
