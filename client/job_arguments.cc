#include "client/job_arguments.h"

#include <cmath>
#include <iostream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "client/proto_json.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/status.h"

namespace quantd {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

// Whole numbers below are exact in a JSON number; longer ones travel as text, which the server converts.
constexpr double kExactBelow = 9007199254740992.0;  // 2^53

struct NameAndValue {
  std::string name;
  std::string value;
};

absl::StatusOr<NameAndValue> SplitAssignment(absl::string_view option, absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  const absl::string_view name = absl::StripAsciiWhitespace(parts.first);
  if (name.empty() || text.find('=') == absl::string_view::npos) {
    return InvalidInput(kBadArgument, absl::StrCat(option, " '", text, "' is not NAME=VALUE"));
  }
  return NameAndValue{std::string(name), std::string(absl::StripAsciiWhitespace(parts.second))};
}

// Decimal notation only: "inf", "nan" and hexadecimal stay text.
bool LooksNumeric(absl::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789+-.eE") == absl::string_view::npos;
}

Value ToValue(const std::string& text) {
  Value value;
  double number = 0;
  if (text == "true" || text == "false") {
    value.set_bool_value(text == "true");
  } else if (LooksNumeric(text) && absl::SimpleAtod(text, &number) && std::abs(number) < kExactBelow) {
    value.set_number_value(number);
  } else {
    value.set_string_value(text);
  }
  return value;
}

absl::Status AddTo(absl::string_view option, absl::string_view assignment, Struct* overrides) {
  ASSIGN_OR_RETURN(const NameAndValue parts, SplitAssignment(option, assignment));
  (*overrides->mutable_fields())[parts.name] = ToValue(parts.value);
  return absl::OkStatus();
}

absl::Status ReadJobFile(const std::string& path, v1::QuantJobSpec* spec) {
  if (path == "-") {
    const std::string text((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
    return JsonToMessage(text, "standard input", spec);
  }
  ASSIGN_OR_RETURN(const std::string text, RealFileSystem().ReadFile(path, kMaxJsonBytes));
  return JsonToMessage(text, path, spec);
}

absl::Status ApplyRecipe(const JobArguments& arguments, v1::Recipe* recipe) {
  if (arguments.recipe.has_value()) recipe->set_preset(*arguments.recipe);
  for (const std::string& set : arguments.sets) RETURN_IF_ERROR(AddAssignment(set, recipe->mutable_overrides()));
  google::protobuf::RepeatedPtrField<v1::LayerRule> rules;
  for (const std::string& text : arguments.rules) RETURN_IF_ERROR(AddRule(text, rules.Add()));
  rules.MergeFrom(recipe->rules());
  *recipe->mutable_rules() = std::move(rules);
  return absl::OkStatus();
}

void ApplyCalibration(const JobArguments& arguments, v1::QuantJobSpec* spec) {
  if (arguments.calibration.has_value()) spec->mutable_calibration()->set_file(*arguments.calibration);
  if (arguments.sequences.has_value()) spec->mutable_calibration()->set_sequences(*arguments.sequences);
  if (arguments.length.has_value()) spec->mutable_calibration()->set_length(*arguments.length);
  if (arguments.seed.has_value()) spec->mutable_calibration()->set_seed(*arguments.seed);
  if (arguments.bos.has_value()) spec->mutable_calibration()->set_bos(*arguments.bos);
}

void ApplyEvaluation(const JobArguments& arguments, v1::QuantJobSpec* spec) {
  if (arguments.evaluation.has_value()) spec->mutable_evaluation()->set_file(*arguments.evaluation);
  if (arguments.context.has_value()) spec->mutable_evaluation()->set_context(*arguments.context);
  if (arguments.windows.has_value()) spec->mutable_evaluation()->set_windows(*arguments.windows);
  if (arguments.protocol.has_value()) spec->mutable_evaluation()->set_protocol(*arguments.protocol);
}

absl::Status ApplyLabels(const std::vector<std::string>& labels, v1::QuantJobSpec* spec) {
  for (const std::string& label : labels) {
    ASSIGN_OR_RETURN(NameAndValue parts, SplitAssignment("--label", label));
    (*spec->mutable_labels())[parts.name] = std::move(parts.value);
  }
  return absl::OkStatus();
}

absl::Status ApplyTimeout(absl::string_view option, const std::optional<std::string>& text, int64_t* milliseconds) {
  if (!text.has_value()) return absl::OkStatus();
  absl::Duration duration;
  const bool readable =
      absl::ParseDuration(*text, &duration) && duration >= absl::ZeroDuration() && duration <= absl::Hours(24 * 365);
  if (!readable) {
    return InvalidInput(
        kBadArgument, absl::StrCat(option, " '", *text, "' is no time up to a year; write it like 90s, 30m or 1h30m"));
  }
  *milliseconds = absl::ToInt64Milliseconds(absl::Ceil(duration, absl::Milliseconds(1)));
  return absl::OkStatus();
}

absl::Status ApplyLimits(const JobArguments& arguments, v1::QuantJobSpec* spec) {
  if (arguments.priority.has_value()) spec->set_priority(*arguments.priority);
  if (arguments.max_attempts.has_value()) spec->set_max_attempts(*arguments.max_attempts);
  int64_t queue_timeout_ms = spec->queue_timeout_ms();
  int64_t run_timeout_ms = spec->run_timeout_ms();
  RETURN_IF_ERROR(ApplyTimeout("--queue-timeout", arguments.queue_timeout, &queue_timeout_ms));
  RETURN_IF_ERROR(ApplyTimeout("--run-timeout", arguments.run_timeout, &run_timeout_ms));
  spec->set_queue_timeout_ms(queue_timeout_ms);
  spec->set_run_timeout_ms(run_timeout_ms);
  return absl::OkStatus();
}

// What the server would only notice with a more roundabout message.
absl::Status CheckDependencies(const v1::QuantJobSpec& spec) {
  if (spec.model().empty())
    return InvalidInput(kBadArgument, "which model? Give --model NAME or a --job FILE with one");
  if (spec.recipe().preset().empty()) {
    return InvalidInput(kBadArgument, "which recipe? Give --recipe NAME; `quantctl recipes` lists them");
  }
  if (spec.has_calibration() && spec.calibration().file().empty()) {
    return InvalidInput(kBadArgument, "--sequences, --length, --seed and --bos need --calibration FILE");
  }
  if (spec.has_evaluation() && spec.evaluation().file().empty()) {
    return InvalidInput(kBadArgument, "--context, --windows and --protocol need --evaluation FILE");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AddAssignment(absl::string_view assignment, Struct* overrides) {
  return AddTo("--set", assignment, overrides);
}

absl::Status AddRule(absl::string_view text, v1::LayerRule* rule) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || colon == 0 || colon + 1 == text.size()) {
    return InvalidInput(kBadArgument, absl::StrCat("--rule '", text, "' is not PATTERN:NAME=VALUE,...; for example ",
                                                   "'*.down_proj:bits=8' or 'model.layers.0.*:skip'"));
  }
  rule->set_pattern(std::string(text.substr(0, colon)));
  for (absl::string_view assignment : absl::StrSplit(text.substr(colon + 1), ',')) {
    if (assignment == "skip") assignment = "skip=true";
    RETURN_IF_ERROR(AddTo("--rule", assignment, rule->mutable_overrides()));
  }
  return absl::OkStatus();
}

absl::Status MakeSpec(const JobArguments& arguments, v1::QuantJobSpec* spec) {
  if (arguments.job_file.has_value()) RETURN_IF_ERROR(ReadJobFile(*arguments.job_file, spec));
  if (arguments.model.has_value()) spec->set_model(*arguments.model);
  RETURN_IF_ERROR(ApplyRecipe(arguments, spec->mutable_recipe()));
  ApplyCalibration(arguments, spec);
  ApplyEvaluation(arguments, spec);
  for (const std::string& name : arguments.exports) spec->add_exports(name);
  if (arguments.device.has_value()) spec->set_device(*arguments.device);
  RETURN_IF_ERROR(ApplyLabels(arguments.labels, spec));
  RETURN_IF_ERROR(ApplyLimits(arguments, spec));
  return CheckDependencies(*spec);
}

}  // namespace quantd
