#include "server/api/spec_validation.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "core/base/file_system.h"
#include "core/base/status.h"
#include "core/objects/s3_location.h"
#include "server/errors/text_limits.h"

namespace quantd {
namespace {

constexpr size_t kMaxSpecBytes = 256 << 10;
constexpr int kMaxLabels = 64;
constexpr size_t kMaxLabelBytes = 63;
constexpr int kMaxRules = 1024;
constexpr size_t kMaxPatternBytes = 256;
constexpr int kMaxSequences = 65536;
constexpr int kMostPriority = 100;
constexpr int kMostAttempts = 10;
constexpr int64_t kLongestTimeoutMs = int64_t{365} * 24 * 3600 * 1000;
constexpr const char* kDevices[] = {"auto", "cpu", "cuda"};
constexpr const char* kExports[] = {"gptq"};
constexpr const char* kBosPolicies[] = {"auto", "always", "never"};
constexpr const char* kProtocols[] = {"plain", "bos", "gptq-2048", "llamacpp-512"};

absl::Status Refuse(absl::string_view field, absl::string_view reason, absl::string_view message) {
  return WithField(InvalidInput(reason, absl::StrCat(field, ": ", message)), field);
}

// Empty stands for the default.
absl::Status CheckChoice(absl::string_view field, absl::string_view reason, const std::string& value,
                         absl::Span<const char* const> choices) {
  if (value.empty() || std::find(choices.begin(), choices.end(), value) != choices.end()) return absl::OkStatus();
  return Refuse(
      field, reason,
      absl::StrFormat("'%s' is unknown; known are %s", KeepBeginning(value, 100), absl::StrJoin(choices, ", ")));
}

struct Range {
  const char* field;
  const char* reason;
  int64_t value;
  int64_t minimum;
  int64_t maximum;
};

// 0 stands for the default.
absl::Status CheckRange(const Range& range) {
  if (range.value == 0 || (range.value >= range.minimum && range.value <= range.maximum)) return absl::OkStatus();
  return Refuse(range.field, range.reason,
                absl::StrFormat("%d is outside %d..%d (0: the default)", range.value, range.minimum, range.maximum));
}

absl::Status CheckLabels(const v1::QuantJobSpec& spec) {
  if (spec.labels_size() > kMaxLabels) {
    return Refuse("spec.labels", "LABELS_INVALID",
                  absl::StrFormat("%d labels, the limit is %d", spec.labels_size(), kMaxLabels));
  }
  for (const auto& [key, value] : spec.labels()) {
    if (key.empty() || key.size() > kMaxLabelBytes || value.size() > kMaxLabelBytes) {
      return Refuse("spec.labels", "LABELS_INVALID",
                    absl::StrFormat("label '%s': keys have 1 to %d bytes, values at most %d", KeepBeginning(key, 100),
                                    kMaxLabelBytes, kMaxLabelBytes));
    }
  }
  return absl::OkStatus();
}

// What the parameters are and what they may be is the planner's business; here they are only made sure to have one
// plain value each, which survives the way into a job file.
absl::Status CheckOverrides(const google::protobuf::Struct& overrides, absl::string_view field) {
  for (const auto& [name, value] : overrides.fields()) {
    const bool plain = value.has_bool_value() || value.has_string_value() ||
                       (value.has_number_value() && std::isfinite(value.number_value()));
    if (plain) continue;
    return Refuse(absl::StrCat(field, ".", KeepBeginning(name, 100)), "RECIPE_PARAMETER_TYPE",
                  "the value of a parameter is a finite number, true or false, or a string");
  }
  return absl::OkStatus();
}

absl::Status CheckRecipe(const v1::Recipe& recipe) {
  RETURN_IF_ERROR(CheckOverrides(recipe.overrides(), "spec.recipe.overrides"));
  if (recipe.rules_size() > kMaxRules) {
    return Refuse("spec.recipe.rules", "RULES_INVALID",
                  absl::StrFormat("%d rules, the limit is %d", recipe.rules_size(), kMaxRules));
  }
  for (int i = 0; i < recipe.rules_size(); ++i) {
    const std::string& pattern = recipe.rules(i).pattern();
    if (pattern.empty() || pattern.size() > kMaxPatternBytes) {
      return Refuse(absl::StrFormat("spec.recipe.rules[%d].pattern", i), "RULES_INVALID",
                    absl::StrFormat("a pattern has 1 to %d bytes", kMaxPatternBytes));
    }
    RETURN_IF_ERROR(CheckOverrides(recipe.rules(i).overrides(), absl::StrFormat("spec.recipe.rules[%d].overrides", i)));
  }
  return absl::OkStatus();
}

absl::Status CheckCalibration(const v1::CalibrationSpec& calibration) {
  constexpr char kReason[] = "CALIBRATION_INVALID";
  if (calibration.file().empty()) {
    return Refuse("spec.calibration.file", kReason, "name a text below the data root, or leave out calibration");
  }
  RETURN_IF_ERROR(
      CheckRange({"spec.calibration.sequences", kReason, calibration.sequences(), /*minimum=*/1, kMaxSequences}));
  RETURN_IF_ERROR(CheckRange({"spec.calibration.length", kReason, calibration.length(), /*minimum=*/2, INT32_MAX}));
  return CheckChoice("spec.calibration.bos", kReason, calibration.bos(), kBosPolicies);
}

absl::Status CheckEvaluation(const v1::EvaluationSpec& evaluation) {
  constexpr char kReason[] = "EVALUATION_INVALID";
  if (evaluation.file().empty()) {
    return Refuse("spec.evaluation.file", kReason, "name a text below the data root, or leave out evaluation");
  }
  RETURN_IF_ERROR(CheckRange({"spec.evaluation.context", kReason, evaluation.context(), /*minimum=*/2, INT32_MAX}));
  RETURN_IF_ERROR(CheckRange({"spec.evaluation.windows", kReason, evaluation.windows(), /*minimum=*/1, INT32_MAX}));
  return CheckChoice("spec.evaluation.protocol", kReason, evaluation.protocol(), kProtocols);
}

absl::Status CheckLimits(const v1::QuantJobSpec& spec) {
  constexpr char kReason[] = "LIMIT_INVALID";
  RETURN_IF_ERROR(CheckRange({"spec.priority", kReason, spec.priority(), -kMostPriority, kMostPriority}));
  RETURN_IF_ERROR(
      CheckRange({"spec.queue_timeout_ms", kReason, spec.queue_timeout_ms(), /*minimum=*/1, kLongestTimeoutMs}));
  RETURN_IF_ERROR(
      CheckRange({"spec.run_timeout_ms", kReason, spec.run_timeout_ms(), /*minimum=*/1, kLongestTimeoutMs}));
  return CheckRange({"spec.max_attempts", kReason, spec.max_attempts(), /*minimum=*/1, kMostAttempts});
}

// FILE_NOT_FOUND gets the reason that says what kind of thing is missing.
absl::Status Located(const absl::StatusOr<std::string>& path, absl::string_view field, absl::string_view not_found) {
  if (path.ok()) return absl::OkStatus();
  if (path.status().code() == absl::StatusCode::kNotFound) {
    return WithField(ReasonError(absl::StatusCode::kNotFound, not_found, path.status().message()), field);
  }
  return WithField(path.status(), field);
}

absl::StatusOr<std::string> LocateText(const std::string& root, const std::string& file, absl::string_view field) {
  auto path = ResolveBelow(root, file);
  RETURN_IF_ERROR(Located(path, field, "DATA_NOT_FOUND"));
  if (!RealFileSystem().IsDirectory(*path)) return path;
  return WithField(ReasonError(absl::StatusCode::kNotFound, "DATA_NOT_FOUND",
                               absl::StrFormat("%s: '%s' is a folder; name a text file", field, file)),
                   field);
}

absl::Status CheckTexts(const v1::QuantJobSpec& spec, const std::string& data_root) {
  std::string calibration;
  if (spec.has_calibration()) {
    ASSIGN_OR_RETURN(calibration, LocateText(data_root, spec.calibration().file(), "spec.calibration.file"));
  }
  if (!spec.has_evaluation()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string evaluation,
                   LocateText(data_root, spec.evaluation().file(), "spec.evaluation.file"));
  if (evaluation != calibration) return absl::OkStatus();
  return Refuse("spec.evaluation.file", "EVALUATION_TEXT_IS_CALIBRATION_TEXT",
                absl::StrFormat("'%s' is the calibration text too; the loss would look smaller than it is, name "
                                "another text",
                                spec.evaluation().file()));
}

}  // namespace

absl::Status ValidateSpec(const v1::QuantJobSpec& spec) {
  if (spec.ByteSizeLong() > kMaxSpecBytes) {
    return Refuse("spec", "SPEC_TOO_LARGE",
                  absl::StrFormat("%d bytes, the limit is %d", spec.ByteSizeLong(), kMaxSpecBytes));
  }
  if (spec.model().empty()) {
    return Refuse("spec.model", "MODEL_MISSING", "name a model folder below the model root");
  }
  if (spec.recipe().preset().empty()) {
    return Refuse("spec.recipe.preset", "RECIPE_MISSING", "name a preset; `quantctl recipes` lists them");
  }
  RETURN_IF_ERROR(CheckChoice("spec.device", "DEVICE_UNKNOWN", spec.device(), kDevices));
  for (int i = 0; i < spec.exports_size(); ++i) {
    const std::string field = absl::StrFormat("spec.exports[%d]", i);
    if (spec.exports(i).empty()) return Refuse(field, "EXPORT_UNKNOWN", "it is empty");
    RETURN_IF_ERROR(CheckChoice(field, "EXPORT_UNKNOWN", spec.exports(i), kExports));
  }
  RETURN_IF_ERROR(CheckLabels(spec));
  RETURN_IF_ERROR(CheckLimits(spec));
  RETURN_IF_ERROR(CheckRecipe(spec.recipe()));
  if (spec.has_calibration()) RETURN_IF_ERROR(CheckCalibration(spec.calibration()));
  if (spec.has_evaluation()) RETURN_IF_ERROR(CheckEvaluation(spec.evaluation()));
  return absl::OkStatus();
}

absl::Status CheckPaths(const v1::QuantJobSpec& spec, const std::string& model_root, const std::string& data_root) {
  if (IsS3Uri(spec.model())) return CheckTexts(spec, data_root);  // whether it may come from there, the planner knows
  const auto model = ResolveBelow(model_root, spec.model());
  RETURN_IF_ERROR(Located(model, "spec.model", "MODEL_NOT_FOUND"));
  if (!RealFileSystem().IsDirectory(*model)) {
    return WithField(ReasonError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                                 absl::StrFormat("spec.model: '%s' is not a folder", spec.model())),
                     "spec.model");
  }
  return CheckTexts(spec, data_root);
}

}  // namespace quantd
