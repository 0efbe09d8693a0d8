// The JSON of a report: its fields are those of the service's message, nothing of a clock is in its deterministic part.
#include "core/pipeline/report.h"

#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "core/base/file_system.h"
#include "tests/core/pipeline/sample_report.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using Fields = std::map<std::string, std::string>;  // name -> type as the .proto file writes it

// Fields of one message of quant_job.proto, without nested messages (reports have none).
Fields MessageFields(const std::string& proto, const std::string& message) {
  const size_t begin = proto.find("message " + message + " {");
  EXPECT_NE(begin, std::string::npos) << message;
  const std::string body = proto.substr(begin, proto.find("\n}", begin) - begin);
  Fields fields;
  const std::regex field(R"(\n\s*((?:repeated )?[A-Za-z0-9]+(?:<[^>]*>)?) ([a-z0-9_]+) = \d+;)");
  for (std::sregex_iterator it(body.begin(), body.end(), field), end; it != end; ++it) fields[(*it)[2]] = (*it)[1];
  return fields;
}

bool HasType(const Json& value, const std::string& type) {
  if (type == "string") return value.is_string();
  if (type == "bool") return value.is_boolean();
  if (type == "int32" || type == "int64") return value.is_number_integer();
  if (type == "double") return value.is_number();
  if (type.starts_with("repeated ")) return value.is_array();
  return value.is_object();  // messages and maps
}

// Every field of the message is there with its type: a member of another type would not parse.
void ExpectMessage(const std::string& proto, const std::string& message, const Json& json) {
  SCOPED_TRACE(message);
  const Fields fields = MessageFields(proto, message);
  EXPECT_FALSE(fields.empty());
  for (const auto& [name, type] : fields) {
    ASSERT_TRUE(json.contains(name)) << name;
    EXPECT_TRUE(HasType(json[name], type)) << name << " must be " << type << ": " << json[name].dump();
  }
}

TEST(ReportToJson, HasEveryFieldOfTheServicesReport) {
  ASSERT_OK_AND_ASSIGN(const std::string proto,
                       RealFileSystem().ReadFile(SourcePath("proto/quantd/v1/quant_job.proto"), 1 << 20));
  const Json json = ReportToJson(SampleReport(), ReportContent::kEverything);
  ExpectMessage(proto, "QuantReport", json);
  ExpectMessage(proto, "SizeReport", json["size"]);
  ExpectMessage(proto, "EvaluationReport", json["evaluation"]);
  ExpectMessage(proto, "SpeedReport", json["speed"]);
  for (const Json& layer : json["layers"]) ExpectMessage(proto, "LayerReport", layer);
}

TEST(ReportToJson, CarriesTheValues) {
  const Json json = ReportToJson(SampleReport(), ReportContent::kEverything);
  EXPECT_EQ(json["recipe"]["bits"], 4);
  EXPECT_EQ(json["evaluation"]["windows"], 64);
  EXPECT_EQ(json["evaluation"]["perplexity_quantized"], 57.91);
  EXPECT_EQ(json["evaluation"]["kl_p999"], 0.2);
  EXPECT_DOUBLE_EQ(json["size"]["compression_ratio"], 11.8 / 3.0);
  EXPECT_EQ(json["layers"].size(), 42);
  EXPECT_EQ(json["layers"][1]["dead_columns"], 1234);
  EXPECT_EQ(json["speed"]["decode_tokens_per_second_quantized"], 96);
}

TEST(ReportToJson, LeavesOutWhatWasNotMeasured) {
  Report report = SampleReport();
  report.calibration.reset();
  report.evaluation.reset();
  report.speed.reset();
  const Json json = ReportToJson(report, ReportContent::kEverything);
  for (const char* absent : {"calibration", "evaluation", "speed"}) EXPECT_FALSE(json.contains(absent)) << absent;
}

TEST(ReportToJson, DeterministicPartIgnoresTheClock) {
  const Report first = SampleReport();
  Report second = first;
  second.speed->quantized.decode_tokens_per_second = 1;
  second.phase_seconds["calibrate"] = 99;
  second.peak_memory_bytes = 1;
  EXPECT_EQ(JsonText(ReportToJson(first, ReportContent::kDeterministic)),
            JsonText(ReportToJson(second, ReportContent::kDeterministic)));
  EXPECT_NE(JsonText(PerformanceToJson(first)), JsonText(PerformanceToJson(second)));
}

TEST(ReportToJson, TwoPartsMakeTheWhole) {
  const Report report = SampleReport();
  Json joined = ReportToJson(report, ReportContent::kDeterministic);
  const Json performance = PerformanceToJson(report);
  for (const auto& [key, value] : performance.items()) {
    EXPECT_FALSE(joined.contains(key)) << key;
    joined[key] = value;
  }
  EXPECT_EQ(joined, ReportToJson(report, ReportContent::kEverything));
}

TEST(ReportToJson, WritesWordsForValuesThatAreNotFinite) {
  Report report = SampleReport();
  report.evaluation->comparison.quantized.perplexity = std::numeric_limits<double>::infinity();
  report.layers[0].relative_output_error = std::numeric_limits<double>::quiet_NaN();
  report.evaluation->comparison.log_perplexity_ratio = -std::numeric_limits<double>::infinity();
  const Json json = ReportToJson(report, ReportContent::kDeterministic);
  EXPECT_EQ(json["evaluation"]["perplexity_quantized"], "Infinity");
  EXPECT_EQ(json["evaluation"]["log_perplexity_ratio"], "-Infinity");
  EXPECT_EQ(json["layers"][0]["relative_output_error"], "NaN");
  EXPECT_OK(ParseJson(JsonText(json), "report.json"));
}

TEST(ReportToJson, KeepsTextThatIsNoJsonAndBytesThatAreNoText) {
  Report report = SampleReport();
  report.recipe_json = "gptq";
  report.model.name = "bad \xff name";
  const Json json = ReportToJson(report, ReportContent::kDeterministic);
  EXPECT_EQ(json["recipe"], "gptq");
  EXPECT_OK(ParseJson(JsonText(json), "report.json"));
}

TEST(ReportToJson, AnEmptyReportIsValid) {
  const Json json = ReportToJson(Report(), ReportContent::kEverything);
  EXPECT_EQ(json["size"]["compression_ratio"], 0);
  EXPECT_TRUE(json["layers"].is_array());
  EXPECT_TRUE(json["phase_seconds"].is_object());
  EXPECT_TRUE(json["counters"].is_object());
}

TEST(Verdict, SaysSizeAndLoss) {
  EXPECT_EQ(Verdict(SampleReport()), "3.9x smaller, perplexity 56.83 -> 57.91 (+1.9 % +- 0.3 %)");
}

TEST(Verdict, SaysThatNothingWasMeasured) {
  Report report = SampleReport();
  report.evaluation.reset();
  EXPECT_EQ(Verdict(report), "3.9x smaller, loss not measured (no evaluation text)");
}

}  // namespace
}  // namespace quantd
