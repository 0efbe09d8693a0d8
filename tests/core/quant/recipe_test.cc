#include "core/quant/recipe.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/quant/glob.h"
#include "core/quant/parameter_table.h"
#include "core/quant/part_registry.h"
#include "core/quant/preset_table.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

std::vector<LinearSite> Sites() {
  std::vector<LinearSite> sites;
  for (const char* name : {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj",
                           "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"}) {
    const bool down = absl::StrContains(name, "down");
    sites.push_back({.name = name, .rows = 64, .cols = down ? 192 : 64, .scheme_group = "", .norm = ""});
  }
  return sites;
}

TEST(Recipe, EveryPresetIsCompleteAndLegal) {
  for (const PresetInfo& preset : PresetTable()) {
    ASSERT_OK_AND_ASSIGN(const Recipe recipe, MakeRecipe(preset.name, Json::object(), {}));
    EXPECT_EQ(recipe.parameters.values().size(), ParameterTable().size()) << preset.name;
    EXPECT_EQ(preset.parts.size(), Parts().size()) << preset.name;
    for (const auto& [name, value] : preset.parts) EXPECT_EQ(recipe.parameters.Text(name), value);
    // Giving a preset's own settings once more must be accepted: each names a parameter, in range, that some part
    // reads.
    Json settings = Json::object();
    for (const auto& [name, value] : preset.defaults) settings[name] = value;
    EXPECT_OK(MakeRecipe(preset.name, settings, {}));
  }
}

TEST(Recipe, EveryParameterOfAChoiceIsInTheTable) {
  for (const PartInfo& part : Parts()) {
    for (const ChoiceInfo* choice : part.choices()) {
      for (const char* name : choice->parameters)
        EXPECT_NE(FindParameter(name), nullptr) << choice->name << " " << name;
    }
  }
}

TEST(Recipe, EveryParameterIsReadBySomeChoice) {
  for (const ParameterInfo& info : ParameterTable()) {
    bool read = false;
    for (const PartInfo& part : Parts()) {
      read |= info.name == part.name;
      for (const ChoiceInfo* choice : part.choices()) {
        for (const char* name : choice->parameters) read |= info.name == name;
      }
    }
    EXPECT_TRUE(read) << info.name;
    EXPECT_FALSE(info.help.empty()) << info.name;
  }
}

TEST(Recipe, OverridesConvertStringsAndWholeDoubles) {
  ASSERT_OK_AND_ASSIGN(
      const Recipe recipe,
      MakeRecipe("gptq", {{"bits", "3"}, {"group_size", 32.0}, {"act_order", "false"}, {"damping", "0.1"}}, {}));
  EXPECT_EQ(recipe.parameters.Int("bits"), 3);
  EXPECT_EQ(recipe.parameters.Int("group_size"), 32);
  EXPECT_FALSE(recipe.parameters.Bool("act_order"));
  EXPECT_EQ(recipe.parameters.Double("damping"), 0.1);
}

TEST(Recipe, CanonicalJsonMakesTheSameRecipe) {
  for (const PresetInfo& preset : PresetTable()) {
    ASSERT_OK_AND_ASSIGN(const Recipe recipe,
                         MakeRecipe(preset.name, {{"scale_dtype", "f32"}}, {{"*.down_proj", Json{{"skip", true}}}}));
    const Json json = recipe.ToJson();
    ASSERT_OK_AND_ASSIGN(const Recipe again,
                         MakeRecipe(json["preset"].get<std::string>(), json["parameters"], recipe.rules));
    EXPECT_EQ(again.ToJson(), json);
  }
}

struct BadRecipe {
  const char* name;
  const char* preset;
  const char* overrides;
  const char* reason;
  const char* mentions;
  const char* field;
};
constexpr BadRecipe kBadRecipes[] = {
    {"UnknownPreset", "gtpq", "{}", "RECIPE_UNKNOWN", "did you mean 'gptq'?", "recipe.preset"},
    {"EmptyPreset", "", "{}", "RECIPE_UNKNOWN", "known: rtn, gptq", "recipe.preset"},
    {"UnknownParameter", "gptq", R"({"bit": 3})", "RECIPE_UNKNOWN_PARAMETER", "did you mean 'bits'?",
     "recipe.overrides.bit"},
    {"FarFetchedParameter", "gptq", R"({"qwertyuiop": 3})", "RECIPE_UNKNOWN_PARAMETER",
     "known:", "recipe.overrides.qwertyuiop"},
    {"UnknownGrid", "gptq", R"({"grid": "unifrom"})", "RECIPE_UNKNOWN_CHOICE", "did you mean 'uniform'?",
     "recipe.overrides.grid"},
    {"UnknownClipSearch", "rtn", R"({"clip_search": "l2"})", "RECIPE_UNKNOWN_CHOICE", "none, mse",
     "recipe.overrides.clip_search"},
    {"BitsZero", "rtn", R"({"bits": 0})", "RECIPE_PARAMETER_OUT_OF_RANGE", "1 to 8", "recipe.overrides.bits"},
    {"BitsNine", "rtn", R"({"bits": 9})", "RECIPE_PARAMETER_OUT_OF_RANGE", "'bits' is 9", "recipe.overrides.bits"},
    {"BitsFraction", "rtn", R"({"bits": 3.5})", "RECIPE_PARAMETER_TYPE", "whole number", "recipe.overrides.bits"},
    {"BitsText", "rtn", R"({"bits": "four"})", "RECIPE_PARAMETER_TYPE", "\"four\"", "recipe.overrides.bits"},
    {"BitsTrue", "rtn", R"({"bits": true})", "RECIPE_PARAMETER_TYPE", "true", "recipe.overrides.bits"},
    {"BitsNull", "rtn", R"({"bits": null})", "RECIPE_PARAMETER_TYPE", "null", "recipe.overrides.bits"},
    {"BitsHuge", "rtn", R"({"bits": 1e300})", "RECIPE_PARAMETER_OUT_OF_RANGE", "bits", "recipe.overrides.bits"},
    {"BitsNaN", "rtn", R"({"bits": "nan"})", "RECIPE_PARAMETER_OUT_OF_RANGE", "nan", "recipe.overrides.bits"},
    {"GroupSizeZero", "rtn", R"({"group_size": 0})", "RECIPE_PARAMETER_OUT_OF_RANGE", "-1",
     "recipe.overrides.group_size"},
    {"GroupSizeMinusTwo", "rtn", R"({"group_size": -2})", "RECIPE_PARAMETER_OUT_OF_RANGE", "-1 to",
     "recipe.overrides.group_size"},
    {"DampingNegative", "gptq", R"({"damping": -0.01})", "RECIPE_PARAMETER_OUT_OF_RANGE", "damping",
     "recipe.overrides.damping"},
    {"DampingObject", "gptq", R"({"damping": {"a": 1}})", "RECIPE_PARAMETER_TYPE", "a number",
     "recipe.overrides.damping"},
    {"SymmetricNumber", "rtn", R"({"symmetric": 2})", "RECIPE_PARAMETER_TYPE", "true or false",
     "recipe.overrides.symmetric"},
    {"ScaleDtypeNumber", "rtn", R"({"scale_dtype": 16})", "RECIPE_PARAMETER_TYPE", "a name",
     "recipe.overrides.scale_dtype"},
    {"SolverWithoutSensitivity", "gptq", R"({"sensitivity": "uniform"})", "RECIPE_ILLEGAL_COMBINATION",
     "sensitivity=input", "recipe.overrides.solver"},
    {"SymmetricOneBit", "rtn", R"({"symmetric": true, "bits": 1})", "RECIPE_ILLEGAL_COMBINATION", "bits=2",
     "recipe.overrides.symmetric"},
    {"AuthorsRangeAsymmetric", "rtn", R"({"symmetric_range": "authors"})", "RECIPE_ILLEGAL_COMBINATION",
     "symmetric=true", "recipe.overrides.symmetric_range"},
    {"ParameterNobodyReads", "rtn", R"({"act_order": true})", "RECIPE_ILLEGAL_COMBINATION", "solver=nearest",
     "recipe.overrides.act_order"},
    {"OverridesAreAList", "rtn", R"(["bits"])", "RECIPE_PARAMETER_TYPE", "object", "recipe.overrides"},
};

class BadRecipeTest : public testing::TestWithParam<BadRecipe> {};

TEST_P(BadRecipeTest, IsRefusedWithReasonFieldAndRemedy) {
  const absl::Status status = MakeRecipe(GetParam().preset, Json::parse(GetParam().overrides), {}).status();
  EXPECT_THAT(status, FailsWith(GetParam().reason, GetParam().mentions));
  EXPECT_EQ(FieldOf(status), GetParam().field);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

std::string BadRecipeName(const testing::TestParamInfo<BadRecipe>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Table, BadRecipeTest, testing::ValuesIn(kBadRecipes), BadRecipeName);

TEST(Rules, FirstMatchWins) {
  ASSERT_OK_AND_ASSIGN(const Recipe recipe, MakeRecipe("rtn", {{"group_size", 32}},
                                                       {{"model.layers.0.*", Json{{"bits", 8}}},
                                                        {"*.down_proj", Json{{"bits", 2}}},
                                                        {"*q_proj", Json{{"skip", true}}}}));
  const std::vector<LinearSite> sites = Sites();
  ASSERT_OK_AND_ASSIGN(const std::vector<SitePlan> plans, PlanSites(recipe, sites));
  ASSERT_EQ(plans.size(), 4u);
  EXPECT_EQ(plans[0].parameters.Int("bits"), 8);
  EXPECT_EQ(plans[1].parameters.Int("bits"), 8);
  EXPECT_TRUE(plans[2].skip);
  EXPECT_EQ(plans[3].parameters.Int("bits"), 2);
  EXPECT_EQ(plans[3].parameters.Int("group_size"), 32);
}

TEST(Rules, OverridesAreCanonicalHoweverTheyWereWritten) {
  const Json typed = {{"act_order", false}, {"static_groups", false}, {"bits", 8}, {"damping", 0.5}};
  const Json text = {{"act_order", "false"}, {"static_groups", "false"}, {"bits", "8"}, {"damping", "0.50"}};
  ASSERT_OK_AND_ASSIGN(const Recipe from_typed, MakeRecipe("gptq", Json::object(), {{"*", typed}, {"x", {}}}));
  ASSERT_OK_AND_ASSIGN(const Recipe from_text, MakeRecipe("gptq", {}, {{"*", text}, {"x", Json::object()}}));
  EXPECT_EQ(JsonText(from_text.ToJson()), JsonText(from_typed.ToJson()));
}

TEST(Rules, PatternWithoutMatchIsRefused) {
  ASSERT_OK_AND_ASSIGN(const Recipe recipe, MakeRecipe("rtn", {}, {{"*.k_proj", Json{{"bits", 8}}}}));
  const std::vector<LinearSite> sites = Sites();
  const absl::Status status = PlanSites(recipe, sites).status();
  EXPECT_THAT(status, FailsWith("RULE_MATCHES_NOTHING", "*.k_proj"));
  EXPECT_EQ(FieldOf(status), "recipe.rules[0].pattern");
}

TEST(Rules, BadOverrideNamesTheRule) {
  const absl::Status status = MakeRecipe("rtn", {}, {{"*", Json{{"bits", 8}}}, {"*", Json{{"bits", 99}}}}).status();
  EXPECT_THAT(status, FailsWith("RECIPE_PARAMETER_OUT_OF_RANGE", "99"));
  EXPECT_EQ(FieldOf(status), "recipe.rules[1].overrides.bits");
}

TEST(Rules, HaveALimit) {
  const std::vector<LayerRule> rules(4097, LayerRule{"*", Json::object()});
  EXPECT_THAT(MakeRecipe("rtn", Json::object(), rules), FailsWith("RULES_TOO_MANY", "4096 rules, not 4097"));
}

TEST(Rules, EmptyPatternAndWrongSkipAreRefused) {
  EXPECT_THAT(MakeRecipe("rtn", {}, {{"", Json{{"bits", 8}}}}), FailsWith("RULE_PATTERN_INVALID", "0 bytes"));
  EXPECT_THAT(MakeRecipe("rtn", {}, {{"*", Json{{"skip", "yes"}}}}), FailsWith("RECIPE_PARAMETER_TYPE", "skip"));
}

TEST(PlanSites, GroupSizeThatDoesNotDivideListsTheDivisors) {
  ASSERT_OK_AND_ASSIGN(const Recipe recipe, MakeRecipe("rtn", {{"group_size", 128}}, {}));
  const std::vector<LinearSite> sites = Sites();
  EXPECT_THAT(PlanSites(recipe, sites), FailsWith("GROUP_SIZE_DOES_NOT_DIVIDE", "1, 2, 4, 8, 16, 32, 64, or use -1"));
}

TEST(PlanSites, SkippedLayersNeedNoDivisorAndNoCalibration) {
  ASSERT_OK_AND_ASSIGN(const Recipe recipe, MakeRecipe("gptq", {{"group_size", 128}}, {{"*", Json{{"skip", true}}}}));
  const std::vector<LinearSite> sites = Sites();
  ASSERT_OK_AND_ASSIGN(const std::vector<SitePlan> plans, PlanSites(recipe, sites));
  EXPECT_FALSE(NeedsCalibration(plans));
}

TEST(PlanSites, CalibrationIsNeededWhenOneRuleAsksForIt) {
  const std::vector<LinearSite> sites = Sites();
  ASSERT_OK_AND_ASSIGN(const Recipe rtn, MakeRecipe("rtn", {}, {}));
  ASSERT_OK_AND_ASSIGN(const std::vector<SitePlan> without, PlanSites(rtn, sites));
  EXPECT_FALSE(NeedsCalibration(without));
  ASSERT_OK_AND_ASSIGN(const Recipe mixed,
                       MakeRecipe("rtn", {}, {{"*.0.*down_proj", Json{{"sensitivity", "input"}, {"solver", "optq"}}}}));
  ASSERT_OK_AND_ASSIGN(const std::vector<SitePlan> with, PlanSites(mixed, sites));
  EXPECT_TRUE(NeedsCalibration(with));
}

TEST(Glob, MatchesWholeNames) {
  EXPECT_TRUE(GlobMatches("*", ""));
  EXPECT_TRUE(GlobMatches("*.down_proj", "model.layers.0.mlp.down_proj"));
  EXPECT_TRUE(GlobMatches("model.layers.?.*", "model.layers.0.mlp.down_proj"));
  EXPECT_FALSE(GlobMatches("model.layers.?.*", "model.layers.10.mlp.down_proj"));
  EXPECT_FALSE(GlobMatches("down_proj", "model.layers.0.mlp.down_proj"));
  EXPECT_TRUE(GlobMatches("*a*b*a*", "xaxbxax"));
  EXPECT_FALSE(GlobMatches("*a*b*a*", "xaxbx"));
  // Would take longer than the universe with backtracking over every star.
  EXPECT_FALSE(GlobMatches("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", std::string(2000, 'a')));
}

TEST(Catalogue, HasEveryRow) {
  const Json catalogue = RecipeCatalogue();
  EXPECT_EQ(catalogue["presets"].size(), PresetTable().size());
  EXPECT_EQ(catalogue["parameters"].size(), ParameterTable().size());
  EXPECT_GE(catalogue["choices"].size(), 7u);
  for (const Json& parameter : catalogue["parameters"]) {
    const bool bounded = parameter["type"] == "int" || parameter["type"] == "float";
    EXPECT_EQ(bounded, parameter["minimum"].get<double>() < parameter["maximum"].get<double>()) << parameter["name"];
    EXPECT_EQ(parameter["type"] == "choice", !parameter["choices"].empty()) << parameter["name"];
  }
}

}  // namespace
}  // namespace quantd
