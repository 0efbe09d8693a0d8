// From arguments to a job spec.
#include "client/job_arguments.h"

#include <google/protobuf/util/message_differencer.h>

#include <fstream>

#include "client/job_filter.h"
#include "client/proto_json.h"
#include "core/base/file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using google::protobuf::util::MessageDifferencer;

std::string OneLine(const google::protobuf::Message& message) {
  std::string json;
  EXPECT_OK(MessageToJson(message, JsonStyle::kOneLine, &json));
  return json;
}

v1::QuantJobSpec FromJson(absl::string_view json) {
  v1::QuantJobSpec spec;
  EXPECT_OK(JsonToMessage(json, "expected", &spec));
  return spec;
}

TEST(Assignments, TableOfValues) {
  const struct {
    const char* text;
    const char* json;
  } kRows[] = {
      {"bits=3", R"({"bits":3})"},
      {"damping=0.01", R"({"damping":0.01})"},
      {"damping=1e-3", R"({"damping":0.001})"},
      {"group_size=-1", R"({"group_size":-1})"},
      {"act_order=true", R"({"act_order":true})"},
      {"act_order=false", R"({"act_order":false})"},
      {" bits = 3 ", R"({"bits":3})"},
      {"grid=uniform", R"({"grid":"uniform"})"},
      {"name=a=b", R"({"name":"a=b"})"},
      {"name=", R"({"name":""})"},
      {"x=inf", R"({"x":"inf"})"},
      {"x=nan", R"({"x":"nan"})"},
      {"x=0x10", R"({"x":"0x10"})"},
      {"x=1.2.3", R"({"x":"1.2.3"})"},
      {"x=True", R"({"x":"True"})"},
      {"x=9007199254740993", R"({"x":"9007199254740993"})"},
  };
  for (const auto& row : kRows) {
    google::protobuf::Struct overrides;
    EXPECT_OK(AddAssignment(row.text, &overrides)) << row.text;
    EXPECT_EQ(OneLine(overrides), row.json) << row.text;
  }
}

TEST(Assignments, BadOnesAreNamed) {
  for (const char* text : {"bits", "=3", "", " =1"}) {
    google::protobuf::Struct overrides;
    EXPECT_THAT(AddAssignment(text, &overrides), FailsWith(kBadArgument, text));
    EXPECT_EQ(overrides.fields_size(), 0);
  }
}

TEST(Rules, PatternAndAssignments) {
  v1::LayerRule rule;
  ASSERT_OK(AddRule("*.down_proj:bits=8,act_order=true", &rule));
  EXPECT_EQ(rule.pattern(), "*.down_proj");
  EXPECT_EQ(rule.overrides().fields_size(), 2);
  EXPECT_EQ(rule.overrides().fields().at("bits").number_value(), 8);
  EXPECT_TRUE(rule.overrides().fields().at("act_order").bool_value());
}

TEST(Rules, SkipNeedsNoValue) {
  v1::LayerRule rule;
  ASSERT_OK(AddRule("model.layers.0.*:skip", &rule));
  EXPECT_TRUE(rule.overrides().fields().at("skip").bool_value());
}

TEST(Rules, BadOnesAreNamed) {
  for (const char* text : {"*.down_proj", ":bits=8", "*.down_proj:", "*.down_proj:bits", "a:bits=1,,b=2"}) {
    v1::LayerRule rule;
    EXPECT_EQ(ReasonOf(AddRule(text, &rule)), kBadArgument) << text;
  }
}

JobArguments Everything() {
  JobArguments arguments;
  arguments.model = "tiny";
  arguments.recipe = "gptq";
  arguments.sets = {"bits=3", "grid=uniform"};
  arguments.rules = {"*.a:bits=8", "*.b:skip=true"};
  arguments.calibration = "c.txt";
  arguments.sequences = 16;
  arguments.length = 512;
  arguments.seed = 4294967295u;
  arguments.bos = "never";
  arguments.evaluation = "e.txt";
  arguments.context = 256;
  arguments.windows = 8;
  arguments.protocol = "bos";
  arguments.exports = {"gptq"};
  arguments.device = "cpu";
  arguments.labels = {"team=search", "note=a=b"};
  return arguments;
}

constexpr char kEverything[] = R"({
  "model": "tiny",
  "recipe": {"preset": "gptq", "overrides": {"bits": 3, "grid": "uniform"},
             "rules": [{"pattern": "*.a", "overrides": {"bits": 8}}, {"pattern": "*.b", "overrides": {"skip": true}}]},
  "calibration": {"file": "c.txt", "sequences": 16, "length": 512, "seed": 4294967295, "bos": "never"},
  "evaluation": {"file": "e.txt", "context": 256, "windows": 8, "protocol": "bos"},
  "exports": ["gptq"], "device": "cpu", "labels": {"team": "search", "note": "a=b"}})";

std::string WriteTemp(const std::string& text) {
  const std::string path = JoinPath(MakeTempDir(), "job.json");
  std::ofstream(path) << text;
  return path;
}

TEST(Specs, EveryArgumentHasItsField) {
  v1::QuantJobSpec spec;
  ASSERT_OK(MakeSpec(Everything(), &spec));
  EXPECT_TRUE(MessageDifferencer::Equals(spec, FromJson(kEverything))) << OneLine(spec);
}

TEST(Specs, JobFileSaysTheSame) {
  JobArguments arguments;
  arguments.job_file = WriteTemp(kEverything);
  v1::QuantJobSpec spec;
  ASSERT_OK(MakeSpec(arguments, &spec));
  EXPECT_TRUE(MessageDifferencer::Equals(spec, FromJson(kEverything))) << OneLine(spec);
}

TEST(Specs, ArgumentsChangeTheJobFile) {
  JobArguments arguments;
  arguments.job_file = WriteTemp(kEverything);
  arguments.sets = {"bits=2"};
  arguments.rules = {"*.a:bits=4"};
  arguments.windows = 2;
  v1::QuantJobSpec spec;
  ASSERT_OK(MakeSpec(arguments, &spec));
  EXPECT_EQ(spec.recipe().overrides().fields().at("bits").number_value(), 2);
  EXPECT_EQ(spec.recipe().overrides().fields().at("grid").string_value(), "uniform");
  ASSERT_EQ(spec.recipe().rules_size(), 3);
  EXPECT_EQ(spec.recipe().rules(0).overrides().fields().at("bits").number_value(), 4) << "first match wins";
  EXPECT_EQ(spec.evaluation().windows(), 2);
  EXPECT_EQ(spec.evaluation().context(), 256);
}

TEST(Specs, WithoutTextsThereIsNeitherCalibrationNorEvaluation) {
  JobArguments arguments;
  arguments.model = "tiny";
  arguments.recipe = "rtn";
  v1::QuantJobSpec spec;
  ASSERT_OK(MakeSpec(arguments, &spec));
  EXPECT_FALSE(spec.has_calibration());
  EXPECT_FALSE(spec.has_evaluation());
}

struct BadSpec {
  const char* name;
  void (*change)(JobArguments&);
  const char* mentions;
};
const BadSpec kBadSpecs[] = {
    {"NoModel", [](JobArguments& a) { a.model.reset(); }, "--model"},
    {"NoRecipe", [](JobArguments& a) { a.recipe.reset(); }, "--recipe"},
    {"SequencesWithoutText", [](JobArguments& a) { a.calibration.reset(); }, "--calibration"},
    {"WindowsWithoutText", [](JobArguments& a) { a.evaluation.reset(); }, "--evaluation"},
    {"BadSet", [](JobArguments& a) { a.sets = {"bits"}; }, "'bits'"},
    {"BadRule", [](JobArguments& a) { a.rules = {"bits=3"}; }, "'bits=3'"},
    {"BadLabel", [](JobArguments& a) { a.labels = {"team"}; }, "'team'"},
};

TEST(Specs, BadArgumentsAreNamed) {
  for (const BadSpec& row : kBadSpecs) {
    JobArguments arguments = Everything();
    row.change(arguments);
    v1::QuantJobSpec spec;
    EXPECT_THAT(MakeSpec(arguments, &spec), FailsWith(kBadArgument, row.mentions)) << row.name;
  }
}

TEST(Specs, BadJobFilesAreNamed) {
  for (const char* text : {"", "[]", "{", R"({"modle": "x"})", R"({"recipe": 3})", "\xff"}) {
    JobArguments arguments = Everything();
    arguments.job_file = WriteTemp(text);
    v1::QuantJobSpec spec;
    EXPECT_THAT(MakeSpec(arguments, &spec), FailsWith("JSON_MALFORMED", "job.json")) << text;
  }
  JobArguments arguments = Everything();
  arguments.job_file = "/nonexistent/job.json";
  v1::QuantJobSpec spec;
  EXPECT_THAT(MakeSpec(arguments, &spec), FailsWith("FILE_NOT_FOUND", "/nonexistent/job.json"));
}

TEST(Filters, TermsAreJoined) {
  EXPECT_EQ(FilterText({}), "");
  EXPECT_EQ(FilterText({.states = {"QUEUED", "running"}, .recipe = "gptq", .model = "team/tiny"}),
            "state = QUEUED OR RUNNING AND recipe = \"gptq\" AND model = \"team/tiny\"");
  EXPECT_EQ(FilterText({.states = {}, .recipe = "rtn", .model = ""}), "recipe = \"rtn\"");
}

}  // namespace
}  // namespace quantd
