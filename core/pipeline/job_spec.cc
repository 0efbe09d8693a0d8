#include "core/pipeline/job_spec.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/file_system.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int64_t kMaxSequences = 65536;
constexpr int64_t kMaxTokens = 1 << 24;
constexpr size_t kMaxLabels = 64;
constexpr size_t kMaxLabelBytes = 63;

// One object of the document, with the path of its fields for messages.
class SpecReader {
 public:
  SpecReader(const Json& object, std::string path, absl::string_view what)
      : object_(object), path_(std::move(path)), what_(what) {}

  absl::Status OnlyKnown(std::initializer_list<absl::string_view> known) const {
    if (!object_.is_object()) return Invalid("JOB_SPEC_INVALID", "", "must be an object");
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        return Invalid("JOB_FIELD_UNKNOWN", key,
                       absl::StrFormat("is not known; known are %s", absl::StrJoin(known, ", ")));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Text(const char* key, absl::string_view fallback) const {
    const Json* value = Find(key);
    if (value == nullptr) return std::string(fallback);
    if (!value->is_string()) return Invalid("JOB_SPEC_INVALID", key, "must be a string");
    return value->get<std::string>();
  }

  absl::StatusOr<int64_t> Int(const char* key) const {
    const Json* value = Find(key);
    if (value == nullptr) return 0;
    int64_t number = 0;
    if (value->is_number_integer()) return value->get<int64_t>();
    if (value->is_string() && absl::SimpleAtoi(value->get_ref<const std::string&>(), &number)) return number;
    return Invalid("JOB_SPEC_INVALID", key, "must be an integer");
  }

  // nullptr when absent or null.
  const Json* Find(const char* key) const {
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  std::string PathOf(absl::string_view key) const { return key.empty() ? path_ : absl::StrCat(path_, ".", key); }

  absl::Status Invalid(absl::string_view reason, absl::string_view key, absl::string_view why) const {
    const std::string path = PathOf(key);
    return WithField(InvalidInput(reason, absl::StrFormat("%s: %s %s", what_, path, why)), path);
  }

 private:
  const Json& object_;
  std::string path_;
  absl::string_view what_;
};

absl::StatusOr<SharedJson> ReadOverrides(const SpecReader& reader) {
  const Json* overrides = reader.Find("overrides");
  if (overrides == nullptr) return SharedJson(Json::object());
  if (!overrides->is_object()) return reader.Invalid("JOB_SPEC_INVALID", "overrides", "must be an object");
  return SharedJson(*overrides);
}

absl::Status ReadRecipe(const Json& json, absl::string_view what, JobSpec& spec) {
  const SpecReader reader(json, "spec.recipe", what);
  RETURN_IF_ERROR(reader.OnlyKnown({"preset", "overrides", "rules"}));
  ASSIGN_OR_RETURN(spec.preset, reader.Text("preset", ""));
  ASSIGN_OR_RETURN(spec.overrides, ReadOverrides(reader));
  const Json* rules = reader.Find("rules");
  if (rules == nullptr) return absl::OkStatus();
  if (!rules->is_array()) return reader.Invalid("JOB_SPEC_INVALID", "rules", "must be a list");
  for (size_t i = 0; i < rules->size(); ++i) {
    const SpecReader rule((*rules)[i], absl::StrFormat("spec.recipe.rules[%d]", i), what);
    RETURN_IF_ERROR(rule.OnlyKnown({"pattern", "overrides"}));
    LayerRule parsed;
    ASSIGN_OR_RETURN(parsed.pattern, rule.Text("pattern", ""));
    ASSIGN_OR_RETURN(parsed.overrides, ReadOverrides(rule));
    spec.rules.push_back(std::move(parsed));
  }
  return absl::OkStatus();
}

absl::Status ReadCalibration(const Json& json, absl::string_view what, JobSpec& spec) {
  const SpecReader reader(json, "spec.calibration", what);
  RETURN_IF_ERROR(reader.OnlyKnown({"file", "sequences", "length", "seed", "bos"}));
  ASSIGN_OR_RETURN(spec.calibration_file, reader.Text("file", ""));
  ASSIGN_OR_RETURN(spec.calibration_sequences, reader.Int("sequences"));
  ASSIGN_OR_RETURN(spec.calibration_length, reader.Int("length"));
  ASSIGN_OR_RETURN(const int64_t seed, reader.Int("seed"));
  if (seed < 0 || seed > UINT32_MAX) return reader.Invalid("JOB_FIELD_OUT_OF_RANGE", "seed", "must be 0 to 2^32-1");
  spec.seed = static_cast<uint64_t>(seed);
  ASSIGN_OR_RETURN(const std::string bos, reader.Text("bos", ""));
  if (!bos.empty()) spec.bos = bos;
  return absl::OkStatus();
}

absl::Status ReadEvaluation(const Json& json, absl::string_view what, JobSpec& spec) {
  const SpecReader reader(json, "spec.evaluation", what);
  RETURN_IF_ERROR(reader.OnlyKnown({"file", "context", "windows", "protocol"}));
  ASSIGN_OR_RETURN(spec.evaluation_file, reader.Text("file", ""));
  ASSIGN_OR_RETURN(spec.evaluation_context, reader.Int("context"));
  ASSIGN_OR_RETURN(spec.evaluation_windows, reader.Int("windows"));
  ASSIGN_OR_RETURN(const std::string protocol, reader.Text("protocol", ""));
  if (!protocol.empty()) spec.protocol = protocol;
  return absl::OkStatus();
}

absl::Status ReadExports(const SpecReader& reader, JobSpec& spec) {
  const Json* exports = reader.Find("exports");
  if (exports == nullptr) return absl::OkStatus();
  if (!exports->is_array()) return reader.Invalid("JOB_SPEC_INVALID", "exports", "must be a list of names");
  for (const Json& name : *exports) {
    if (!name.is_string()) return reader.Invalid("JOB_SPEC_INVALID", "exports", "must be a list of names");
    spec.exports.push_back(name.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status ReadLabels(const SpecReader& reader, JobSpec& spec) {
  const Json* labels = reader.Find("labels");
  if (labels == nullptr) return absl::OkStatus();
  if (!labels->is_object()) return reader.Invalid("JOB_SPEC_INVALID", "labels", "must be an object of strings");
  for (const auto& [key, value] : labels->items()) {
    if (!value.is_string()) return reader.Invalid("JOB_SPEC_INVALID", "labels", "must be an object of strings");
    spec.labels[key] = value.get<std::string>();
  }
  return absl::OkStatus();
}

absl::Status FieldError(absl::string_view reason, absl::string_view field, absl::string_view why) {
  return WithField(InvalidInput(reason, absl::StrCat(field, " ", why)), field);
}

absl::Status CheckRange(absl::string_view field, int64_t value, int64_t minimum, int64_t maximum) {
  if (value == 0 || (value >= minimum && value <= maximum)) return absl::OkStatus();
  return FieldError("JOB_FIELD_OUT_OF_RANGE", field,
                    absl::StrFormat("is %d; it must be %d to %d, or 0 for the default", value, minimum, maximum));
}

absl::Status CheckChoice(absl::string_view field, const std::string& value, std::vector<std::string> known) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return absl::OkStatus();
  return FieldError("JOB_CHOICE_UNKNOWN", field,
                    absl::StrFormat("is '%s'; known are %s", value, absl::StrJoin(known, ", ")));
}

absl::Status CheckLabels(const JobSpec& spec) {
  bool fits = spec.labels.size() <= kMaxLabels;
  for (const auto& [key, value] : spec.labels) {
    fits = fits && !key.empty() && key.size() <= kMaxLabelBytes && value.size() <= kMaxLabelBytes;
  }
  if (fits) return absl::OkStatus();
  return FieldError(
      "JOB_FIELD_OUT_OF_RANGE", "spec.labels",
      absl::StrFormat("may hold %d labels of at most %d bytes a key or value", kMaxLabels, kMaxLabelBytes));
}

absl::StatusOr<std::string> ResolveFile(const std::string& root, const std::string& name, absl::string_view reason,
                                        absl::string_view field) {
  if (root.empty()) {
    if (RealFileSystem().Exists(name)) return name;
    return WithField(ReasonError(absl::StatusCode::kNotFound, reason, absl::StrFormat("'%s' does not exist", name)),
                     field);
  }
  auto path = ResolveBelow(root, name);
  if (path.ok()) return path;
  if (ReasonOf(path.status()) != "FILE_NOT_FOUND") return WithField(path.status(), field);
  return WithField(
      ReasonError(absl::StatusCode::kNotFound, reason, absl::StrFormat("'%s' does not exist below its root", name)),
      field);
}

}  // namespace

absl::Status CheckJobSpec(const JobSpec& spec) {
  if (spec.model.empty()) return FieldError("JOB_SPEC_INVALID", "spec.model", "is missing: name a model folder");
  if (spec.preset.empty()) return FieldError("JOB_SPEC_INVALID", "spec.recipe.preset", "is missing: name a recipe");
  RETURN_IF_ERROR(CheckRange("spec.calibration.sequences", spec.calibration_sequences, 1, kMaxSequences));
  RETURN_IF_ERROR(CheckRange("spec.calibration.length", spec.calibration_length, 2, kMaxTokens));
  RETURN_IF_ERROR(CheckRange("spec.evaluation.context", spec.evaluation_context, 2, kMaxTokens));
  RETURN_IF_ERROR(CheckRange("spec.evaluation.windows", spec.evaluation_windows, 1, kMaxTokens));
  RETURN_IF_ERROR(CheckChoice("spec.calibration.bos", spec.bos, {"auto", "always", "never"}));
  RETURN_IF_ERROR(
      CheckChoice("spec.evaluation.protocol", spec.protocol, {"plain", "bos", "gptq-2048", "llamacpp-512"}));
  for (const std::string& name : spec.exports) RETURN_IF_ERROR(CheckChoice("spec.exports", name, {"gptq"}));
  RETURN_IF_ERROR(CheckChoice("spec.device", spec.device, {"auto", "cpu", "cuda"}));
  return CheckLabels(spec);
}

absl::StatusOr<JobSpec> ParseJobSpec(const Json& json, absl::string_view what) {
  const SpecReader reader(json, "spec", what);
  // The last four concern the queue of the service and change nothing here.
  RETURN_IF_ERROR(reader.OnlyKnown({"model", "recipe", "calibration", "evaluation", "exports", "device", "labels",
                                    "priority", "queue_timeout_ms", "run_timeout_ms", "max_attempts"}));
  JobSpec spec;
  spec.overrides = SharedJson(Json::object());
  ASSIGN_OR_RETURN(spec.model, reader.Text("model", ""));
  if (const Json* recipe = reader.Find("recipe")) RETURN_IF_ERROR(ReadRecipe(*recipe, what, spec));
  if (const Json* calibration = reader.Find("calibration")) RETURN_IF_ERROR(ReadCalibration(*calibration, what, spec));
  if (const Json* evaluation = reader.Find("evaluation")) RETURN_IF_ERROR(ReadEvaluation(*evaluation, what, spec));
  RETURN_IF_ERROR(ReadExports(reader, spec));
  RETURN_IF_ERROR(ReadLabels(reader, spec));
  ASSIGN_OR_RETURN(const std::string device, reader.Text("device", ""));
  if (!device.empty()) spec.device = device;
  RETURN_IF_ERROR(CheckJobSpec(spec));
  return spec;
}

absl::Status ResolveJobPaths(const JobRoots& roots, JobSpec& spec) {
  ASSIGN_OR_RETURN(spec.model, ResolveFile(roots.model_root, spec.model, "MODEL_NOT_FOUND", "spec.model"));
  if (!spec.calibration_file.empty()) {
    ASSIGN_OR_RETURN(spec.calibration_file,
                     ResolveFile(roots.data_root, spec.calibration_file, "DATA_NOT_FOUND", "spec.calibration.file"));
  }
  if (!spec.evaluation_file.empty()) {
    ASSIGN_OR_RETURN(spec.evaluation_file,
                     ResolveFile(roots.data_root, spec.evaluation_file, "DATA_NOT_FOUND", "spec.evaluation.file"));
  }
  return absl::OkStatus();
}

}  // namespace quantd
