// Weights in the form that runs: the values that DecodeRows gives, bit for bit, in about the memory of what is stored.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/quant/group_order.h"
#include "core/quant/quantize_site.h"
#include "tests/core/quant/test_site.h"
#include "tests/testing/random_matrix.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

struct RunCase {
  const char* name;
  const char* preset;
  Json overrides;
  bool has_planes;
};

std::vector<RunCase> Cases() {
  std::vector<RunCase> cases;
  for (int bits = 1; bits <= 8; ++bits) {
    cases.push_back({"rtn", "rtn", {{"bits", bits}, {"group_size", 32}}, true});
    cases.push_back({"symmetric", "rtn", {{"bits", bits}, {"group_size", -1}, {"symmetric", bits > 1}}, true});
  }
  cases.push_back({"f32Scales", "rtn", {{"bits", 3}, {"group_size", 64}, {"scale_dtype", "f32"}}, true});
  cases.push_back(
      {"actOrder", "gptq", {{"bits", 3}, {"group_size", 32}, {"act_order", true}, {"static_groups", false}}, true});
  for (int bits = 2; bits <= 4; ++bits) {
    cases.push_back({"gptqt", "gptqt", {{"bits", bits}, {"group_size", 64}}, true});
    cases.push_back({"bcq", "bcq", {{"bits", bits}, {"group_size", -1}}, true});
  }
  cases.push_back({"groupOf48", "rtn", {{"bits", 4}, {"group_size", 48}}, false});
  cases.push_back({"spqr", "spqr", {{"group_size", 32}}, false});
  return cases;
}

class RunPlanes : public testing::TestWithParam<RunCase> {};

TEST_P(RunPlanes, HaveTheBitsOfTheDecodedWeight) {
  constexpr int64_t kRows = 48, kCols = 192;
  const auto context = TestContext();
  const SitePlan plan = TestPlan(GetParam().preset, GetParam().overrides, kRows, kCols);
  const Matrix weight = RandomMatrix(kRows, kCols, 1);
  const Matrix hessian = TestHessian(kCols, 400, 2);
  ASSERT_OK_AND_ASSIGN(const SiteResult result, QuantizeSite(*context, plan, weight.view(), hessian));
  const std::optional<BinaryPlanes> planes = result.weight->ToPlanes();
  ASSERT_EQ(planes.has_value(), GetParam().has_planes);
  if (!planes.has_value()) return;
  const Matrix expected = result.weight->Decode();
  Matrix decoded(kRows, kCols);
  planes->DecodeRows(context->isa(), 0, decoded.view());
  EXPECT_EQ(std::memcmp(decoded.data(), expected.data(), static_cast<size_t>(decoded.size()) * sizeof(float)), 0);
  // A base takes a byte, of which a zero point of one bit would leave seven unused.
  if (planes->layout().planes == 1) return;
  EXPECT_LE(static_cast<double>(planes->resident_bytes()), 1.1 * static_cast<double>(result.weight->StoredBytes()));
}

INSTANTIATE_TEST_SUITE_P(Weights, RunPlanes, testing::ValuesIn(Cases()), [](const auto& tested) {
  return std::string(tested.param.name) + std::to_string(tested.index);
});

TEST(ColumnsByGroup, AreSortedAndFillTheirGroups) {
  const std::vector<int32_t> groups = {1, 0, 2, 0, 1};
  EXPECT_EQ(ColumnsByGroup(groups, 2), (std::vector<int32_t>{1, 3, 0, 4, 2}));
  EXPECT_EQ(ColumnsByGroup({0, 0, 0, 1, 1}, 2), std::nullopt);
}

}  // namespace
}  // namespace quantd
