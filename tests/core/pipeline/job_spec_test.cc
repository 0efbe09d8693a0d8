#include "core/pipeline/job_spec.h"

#include <nlohmann/json.hpp>

#include "core/base/file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

TEST(JobSpec, ReadsEveryField) {
  const Json json = *ParseJson(R"({
    "model": "team/m", "device": "cpu", "exports": ["gptq"], "labels": {"owner": "search"},
    "priority": 5, "queue_timeout_ms": "60000", "run_timeout_ms": "0", "max_attempts": 2,
    "recipe": {"preset": "gptq", "overrides": {"bits": 3, "act_order": true},
               "rules": [{"pattern": "*.down_proj", "overrides": {"bits": 8}}]},
    "calibration": {"file": "c.txt", "sequences": 32, "length": "512", "seed": 7, "bos": "never"},
    "evaluation": {"file": "e.txt", "context": 256, "windows": 5, "protocol": "bos"}})",
                               "test");
  ASSERT_OK_AND_ASSIGN(const JobSpec spec, ParseJobSpec(json, "test"));
  EXPECT_EQ(spec.model, "team/m");
  EXPECT_EQ(spec.preset, "gptq");
  EXPECT_EQ(spec.overrides.get().at("bits"), 3);
  ASSERT_EQ(spec.rules.size(), 1u);
  EXPECT_EQ(spec.rules[0].pattern, "*.down_proj");
  EXPECT_EQ(spec.calibration_sequences, 32);
  EXPECT_EQ(spec.calibration_length, 512);  // protobuf writes 64-bit integers as strings
  EXPECT_EQ(spec.seed, 7u);
  EXPECT_EQ(spec.bos, "never");
  EXPECT_EQ(spec.evaluation_context, 256);
  EXPECT_EQ(spec.protocol, "bos");
  EXPECT_EQ(spec.labels.at("owner"), "search");
}

struct BadSpec {
  const char* name;
  const char* json;  // fields added to a good spec, or replacing it
  const char* reason;
  const char* field;
};

constexpr BadSpec kBadSpecs[] = {
    {"NoModel", R"({"model": ""})", "JOB_SPEC_INVALID", "spec.model"},
    {"ModelIsNumber", R"({"model": 3})", "JOB_SPEC_INVALID", "spec.model"},
    {"UnknownField", R"({"modle": "m"})", "JOB_FIELD_UNKNOWN", "spec.modle"},
    {"NoPreset", R"({"recipe": {}})", "JOB_SPEC_INVALID", "spec.recipe.preset"},
    {"RecipeIsText", R"({"recipe": "gptq"})", "JOB_SPEC_INVALID", "spec.recipe"},
    {"OverridesIsList", R"({"recipe": {"preset": "rtn", "overrides": [1]}})", "JOB_SPEC_INVALID",
     "spec.recipe.overrides"},
    {"RulesIsObject", R"({"recipe": {"preset": "rtn", "rules": {}}})", "JOB_SPEC_INVALID", "spec.recipe.rules"},
    {"RuleWithUnknownField", R"({"recipe": {"preset": "rtn", "rules": [{"patern": "x"}]}})", "JOB_FIELD_UNKNOWN",
     "spec.recipe.rules[0].patern"},
    {"SequencesNegative", R"({"calibration": {"sequences": -1}})", "JOB_FIELD_OUT_OF_RANGE",
     "spec.calibration.sequences"},
    {"SequencesHuge", R"({"calibration": {"sequences": 65537}})", "JOB_FIELD_OUT_OF_RANGE",
     "spec.calibration.sequences"},
    {"SequencesFractional", R"({"calibration": {"sequences": 1.5}})", "JOB_SPEC_INVALID", "spec.calibration.sequences"},
    {"LengthOne", R"({"calibration": {"length": 1}})", "JOB_FIELD_OUT_OF_RANGE", "spec.calibration.length"},
    {"SeedNegative", R"({"calibration": {"seed": -5}})", "JOB_FIELD_OUT_OF_RANGE", "spec.calibration.seed"},
    {"BosUnknown", R"({"calibration": {"bos": "maybe"}})", "JOB_CHOICE_UNKNOWN", "spec.calibration.bos"},
    {"ContextOne", R"({"evaluation": {"context": 1}})", "JOB_FIELD_OUT_OF_RANGE", "spec.evaluation.context"},
    {"WindowsNegative", R"({"evaluation": {"windows": -2}})", "JOB_FIELD_OUT_OF_RANGE", "spec.evaluation.windows"},
    {"ProtocolUnknown", R"({"evaluation": {"protocol": "mine"}})", "JOB_CHOICE_UNKNOWN", "spec.evaluation.protocol"},
    {"ExportUnknown", R"({"exports": ["onnx"]})", "JOB_CHOICE_UNKNOWN", "spec.exports"},
    {"ExportsIsText", R"({"exports": "gptq"})", "JOB_SPEC_INVALID", "spec.exports"},
    {"DeviceUnknown", R"({"device": "tpu"})", "JOB_CHOICE_UNKNOWN", "spec.device"},
    {"LabelIsNumber", R"({"labels": {"a": 1}})", "JOB_SPEC_INVALID", "spec.labels"},
    {"LabelTooLong", R"({"labels": {"a": "0123456789012345678901234567890123456789012345678901234567890123"}})",
     "JOB_FIELD_OUT_OF_RANGE", "spec.labels"},
};

class BadJobSpec : public testing::TestWithParam<BadSpec> {};

TEST_P(BadJobSpec, IsRefusedWithItsField) {
  Json json{{"model", "m"}, {"recipe", {{"preset", "rtn"}}}};
  json.update(*ParseJson(GetParam().json, "test"));
  const absl::Status status = ParseJobSpec(json, "job.json").status();
  EXPECT_EQ(ReasonOf(status), GetParam().reason) << status;
  EXPECT_EQ(FieldOf(status), GetParam().field);
  EXPECT_THAT(status.message(), testing::HasSubstr(GetParam().field));
}

INSTANTIATE_TEST_SUITE_P(Table, BadJobSpec, testing::ValuesIn(kBadSpecs),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(ResolveJobPaths, NamesLeadBelowTheirRootsOnly) {
  const JobRoots roots{SourcePath("data/models"), SourcePath("data")};
  JobSpec spec;
  spec.model = "quantd-tiny-llama";
  spec.evaluation_file = "books/heldout.txt";
  ASSERT_OK(ResolveJobPaths(roots, spec));
  EXPECT_TRUE(RealFileSystem().Exists(spec.model + "/config.json"));
  EXPECT_TRUE(RealFileSystem().Exists(spec.evaluation_file));

  const std::pair<const char*, const char*> bad[] = {
      {"../books", "PATH_ESCAPES_ROOT"}, {"/etc/passwd", "PATH_INVALID"}, {"absent", "MODEL_NOT_FOUND"}};
  for (const auto& [name, reason] : bad) {
    JobSpec wrong;
    wrong.model = name;
    const absl::Status status = ResolveJobPaths(roots, wrong);
    EXPECT_EQ(ReasonOf(status), reason) << name;
    EXPECT_EQ(FieldOf(status), "spec.model");
  }
}

}  // namespace
}  // namespace quantd
