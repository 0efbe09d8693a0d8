// Job specs that cannot work: each is refused with its reason, its field and its code, and the daemon lives on.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using absl::StatusCode;
using v1::QuantJobSpec;
using v1::SubmitQuantJobRequest;

struct BadSpec {
  const char* what;
  std::function<void(QuantJobSpec&)> spoil;
  StatusCode code;
  const char* reason;
  const char* field;
};

google::protobuf::Value& Override(QuantJobSpec& spec, const char* name) {
  return (*spec.mutable_recipe()->mutable_overrides()->mutable_fields())[name];
}

void AddRules(QuantJobSpec& spec, int count, const std::string& pattern) {
  for (int i = 0; i < count; ++i) spec.mutable_recipe()->add_rules()->set_pattern(pattern);
}

void AddLabels(QuantJobSpec& spec, int count) {
  for (int i = 0; i < count; ++i) (*spec.mutable_labels())[absl::StrCat("key", i)] = "value";
}

std::string Kanji(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "\xE6\xA8\xA1";
  return text;
}

constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
constexpr StatusCode kNotFound = StatusCode::kNotFound;

const BadSpec kModels[] = {
    {"no spec", [](auto& s) { s.Clear(); }, kInvalid, "MODEL_MISSING", "spec.model"},
    {"no model", [](auto& s) { s.clear_model(); }, kInvalid, "MODEL_MISSING", "spec.model"},
    {"absent", [](auto& s) { s.set_model("absent"); }, kNotFound, "MODEL_NOT_FOUND", "spec.model"},
    {"a file", [](auto& s) { s.set_model("file"); }, kNotFound, "MODEL_NOT_FOUND", "spec.model"},
    {"below a file", [](auto& s) { s.set_model("file/m"); }, kNotFound, "MODEL_NOT_FOUND", "spec.model"},
    {"parent", [](auto& s) { s.set_model("../models/m"); }, kInvalid, "PATH_ESCAPES_ROOT", "spec.model"},
    {"inner parent", [](auto& s) { s.set_model("m/../../x"); }, kInvalid, "PATH_ESCAPES_ROOT", "spec.model"},
    {"link outside", [](auto& s) { s.set_model("outside"); }, kInvalid, "PATH_ESCAPES_ROOT", "spec.model"},
    {"circle of links", [](auto& s) { s.set_model("circle"); }, kInvalid, "PATH_INVALID", "spec.model"},
    {"absolute", [](auto& s) { s.set_model("/etc"); }, kInvalid, "PATH_INVALID", "spec.model"},
    {"empty part", [](auto& s) { s.set_model("m//m"); }, kInvalid, "PATH_INVALID", "spec.model"},
    {"zero byte", [](auto& s) { s.set_model(std::string("m\0x", 3)); }, kInvalid, "PATH_INVALID", "spec.model"},
    {"line feed", [](auto& s) { s.set_model("m\nx"); }, kInvalid, "PATH_INVALID", "spec.model"},
    {"long part", [](auto& s) { s.set_model(std::string(300, 'm')); }, kInvalid, "PATH_INVALID", "spec.model"},
    {"long name", [](auto& s) { s.set_model(std::string(5000, 'm')); }, kInvalid, "PATH_INVALID", "spec.model"},
    {"long name in kanji", [](auto& s) { s.set_model(Kanji(5000)); }, kInvalid, "PATH_INVALID", "spec.model"},
};

const BadSpec kLimits[] = {
    {"priority too low", [](auto& s) { s.set_priority(-101); }, kInvalid, "LIMIT_INVALID", "spec.priority"},
    {"priority too high", [](auto& s) { s.set_priority(101); }, kInvalid, "LIMIT_INVALID", "spec.priority"},
    {"no attempts", [](auto& s) { s.set_max_attempts(-1); }, kInvalid, "LIMIT_INVALID", "spec.max_attempts"},
    {"many attempts", [](auto& s) { s.set_max_attempts(11); }, kInvalid, "LIMIT_INVALID", "spec.max_attempts"},
    {"waits negative", [](auto& s) { s.set_queue_timeout_ms(-1); }, kInvalid, "LIMIT_INVALID", "spec.queue_timeout_ms"},
    {"waits for ever", [](auto& s) { s.set_queue_timeout_ms(INT64_MAX); }, kInvalid, "LIMIT_INVALID",
     "spec.queue_timeout_ms"},
    {"runs negative", [](auto& s) { s.set_run_timeout_ms(INT64_MIN); }, kInvalid, "LIMIT_INVALID",
     "spec.run_timeout_ms"},
    {"runs for ever", [](auto& s) { s.set_run_timeout_ms(31'536'000'001); }, kInvalid, "LIMIT_INVALID",
     "spec.run_timeout_ms"},
};

const BadSpec kRecipes[] = {
    {"no recipe", [](auto& s) { s.clear_recipe(); }, kInvalid, "RECIPE_MISSING", "spec.recipe.preset"},
    {"null", [](auto& s) { Override(s, "bits").set_null_value({}); }, kInvalid, "RECIPE_PARAMETER_TYPE",
     "spec.recipe.overrides.bits"},
    {"no value", [](auto& s) { Override(s, "bits"); }, kInvalid, "RECIPE_PARAMETER_TYPE", "spec.recipe.overrides.bits"},
    {"NaN", [](auto& s) { Override(s, "bits").set_number_value(NAN); }, kInvalid, "RECIPE_PARAMETER_TYPE",
     "spec.recipe.overrides.bits"},
    {"infinity", [](auto& s) { Override(s, "damping").set_number_value(INFINITY); }, kInvalid, "RECIPE_PARAMETER_TYPE",
     "spec.recipe.overrides.damping"},
    {"list", [](auto& s) { Override(s, "bits").mutable_list_value()->add_values(); }, kInvalid, "RECIPE_PARAMETER_TYPE",
     "spec.recipe.overrides.bits"},
    {"1025 rules", [](auto& s) { AddRules(s, 1025, "*"); }, kInvalid, "RULES_INVALID", "spec.recipe.rules"},
    {"no pattern", [](auto& s) { AddRules(s, 2, ""); }, kInvalid, "RULES_INVALID", "spec.recipe.rules[0].pattern"},
    {"long pattern", [](auto& s) { AddRules(s, 1, std::string(257, '*')); }, kInvalid, "RULES_INVALID",
     "spec.recipe.rules[0].pattern"},
    {"rule with a struct",
     [](auto& s) {
       AddRules(s, 2, "*");
       (*s.mutable_recipe()->mutable_rules(1)->mutable_overrides()->mutable_fields())["skip"].mutable_struct_value();
     },
     kInvalid, "RECIPE_PARAMETER_TYPE", "spec.recipe.rules[1].overrides.skip"},
};

const BadSpec kTexts[] = {
    {"no text", [](auto& s) { s.mutable_calibration()->clear_file(); }, kInvalid, "CALIBRATION_INVALID",
     "spec.calibration.file"},
    {"absent text", [](auto& s) { s.mutable_calibration()->set_file("absent"); }, kNotFound, "DATA_NOT_FOUND",
     "spec.calibration.file"},
    {"folder", [](auto& s) { s.mutable_calibration()->set_file("."); }, kNotFound, "DATA_NOT_FOUND",
     "spec.calibration.file"},
    {"outside", [](auto& s) { s.mutable_evaluation()->set_file("../data/quantd.db"); }, kInvalid, "PATH_ESCAPES_ROOT",
     "spec.evaluation.file"},
    {"-1 sequences", [](auto& s) { s.mutable_calibration()->set_sequences(-1); }, kInvalid, "CALIBRATION_INVALID",
     "spec.calibration.sequences"},
    {"65537 sequences", [](auto& s) { s.mutable_calibration()->set_sequences(65537); }, kInvalid, "CALIBRATION_INVALID",
     "spec.calibration.sequences"},
    {"length 1", [](auto& s) { s.mutable_calibration()->set_length(1); }, kInvalid, "CALIBRATION_INVALID",
     "spec.calibration.length"},
    {"BOS", [](auto& s) { s.mutable_calibration()->set_bos("maybe"); }, kInvalid, "CALIBRATION_INVALID",
     "spec.calibration.bos"},
    {"no evaluation text", [](auto& s) { s.mutable_evaluation()->clear_file(); }, kInvalid, "EVALUATION_INVALID",
     "spec.evaluation.file"},
    {"context 1", [](auto& s) { s.mutable_evaluation()->set_context(1); }, kInvalid, "EVALUATION_INVALID",
     "spec.evaluation.context"},
    {"-5 windows", [](auto& s) { s.mutable_evaluation()->set_windows(-5); }, kInvalid, "EVALUATION_INVALID",
     "spec.evaluation.windows"},
    {"protocol", [](auto& s) { s.mutable_evaluation()->set_protocol("Plain"); }, kInvalid, "EVALUATION_INVALID",
     "spec.evaluation.protocol"},
    {"same text", [](auto& s) { s.mutable_evaluation()->set_file("calibration.txt"); }, kInvalid,
     "EVALUATION_TEXT_IS_CALIBRATION_TEXT", "spec.evaluation.file"},
    {"same text by a link", [](auto& s) { s.mutable_evaluation()->set_file("link.txt"); }, kInvalid,
     "EVALUATION_TEXT_IS_CALIBRATION_TEXT", "spec.evaluation.file"},
};

const BadSpec kRest[] = {
    {"device", [](auto& s) { s.set_device("tpu"); }, kInvalid, "DEVICE_UNKNOWN", "spec.device"},
    {"export", [](auto& s) { s.add_exports("gguf"); }, kInvalid, "EXPORT_UNKNOWN", "spec.exports[0]"},
    {"empty export", [](auto& s) { s.add_exports("gptq"), s.add_exports(""); }, kInvalid, "EXPORT_UNKNOWN",
     "spec.exports[1]"},
    {"65 labels", [](auto& s) { AddLabels(s, 65); }, kInvalid, "LABELS_INVALID", "spec.labels"},
    {"empty key", [](auto& s) { (*s.mutable_labels())[""] = "x"; }, kInvalid, "LABELS_INVALID", "spec.labels"},
    {"long key", [](auto& s) { (*s.mutable_labels())[std::string(64, 'k')]; }, kInvalid, "LABELS_INVALID",
     "spec.labels"},
    {"long value", [](auto& s) { (*s.mutable_labels())["k"] = std::string(64, 'v'); }, kInvalid, "LABELS_INVALID",
     "spec.labels"},
    {"257 KiB", [](auto& s) { s.set_model(std::string(257 << 10, 'm')); }, kInvalid, "SPEC_TOO_LARGE", "spec"},
};

class BadSpecTest : public DaemonTest {
 protected:
  BadSpecTest() {
    namespace fs = std::filesystem;
    EXPECT_OK(WriteFileDurably(RealFileSystem(), config_.model_root + "/file", "x"));
    fs::create_directory_symlink("/etc", config_.model_root + "/outside");
    fs::create_symlink("circle", config_.model_root + "/circle");
    fs::create_symlink("calibration.txt", config_.data_root + "/link.txt");
  }

  void CheckAll(absl::Span<const BadSpec> table) {
    for (const BadSpec& row : table) {
      SCOPED_TRACE(row.what);
      SubmitQuantJobRequest request = GoodRequest();
      row.spoil(*request.mutable_spec());
      for (const bool validate_only : {true, false}) {
        request.set_validate_only(validate_only);
        const absl::Status status = Submit(request).status();
        EXPECT_EQ(status.code(), row.code) << status;
        EXPECT_EQ(ReasonOf(status), row.reason) << status;
        EXPECT_EQ(FieldOf(status), row.field) << status;
      }
    }
    ASSERT_OK_AND_ASSIGN(const auto jobs, List({}));
    EXPECT_EQ(jobs.jobs_size(), 0);
    EXPECT_OK(Submit(GoodRequest())) << "the daemon takes good jobs after all that";
  }
};

TEST_F(BadSpecTest, Models) {
  CheckAll(kModels);
}
TEST_F(BadSpecTest, Recipes) {
  CheckAll(kRecipes);
}
TEST_F(BadSpecTest, Texts) {
  CheckAll(kTexts);
}
TEST_F(BadSpecTest, DevicesExportsLabelsAndSizes) {
  CheckAll(kRest);
}

TEST_F(BadSpecTest, PrioritiesDeadlinesAndAttempts) {
  CheckAll(kLimits);
}

TEST_F(BadSpecTest, LargestAllowedValuesPass) {
  SubmitQuantJobRequest request = GoodRequest();
  QuantJobSpec& spec = *request.mutable_spec();
  AddRules(spec, 1024, "*");
  AddLabels(spec, 63);
  (*spec.mutable_labels())[std::string(63, 'k')] = std::string(63, 'v');
  spec.mutable_calibration()->set_sequences(65536);
  spec.mutable_calibration()->set_length(INT32_MAX);
  spec.set_priority(-100);
  spec.set_max_attempts(10);
  spec.set_queue_timeout_ms(31'536'000'000);
  spec.set_run_timeout_ms(31'536'000'000);
  EXPECT_OK(Submit(request));
}

}  // namespace
}  // namespace quantd
