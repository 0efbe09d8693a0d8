#include "worker/quant/job_flags.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/base/json.h"
#include "core/base/status.h"
#include "worker/quant/command.h"

namespace quantd {
namespace {

// key=value; the value stays a string, which the recipe converts to the parameter's type.
absl::Status AddSetting(absl::string_view text, Json& overrides) {
  const size_t equals = text.find('=');
  if (equals == absl::string_view::npos || equals == 0) {
    return InvalidInput("SETTING_MALFORMED", absl::StrFormat("'%s' is not key=value, e.g. bits=3", text));
  }
  overrides[std::string(text.substr(0, equals))] = std::string(text.substr(equals + 1));
  return absl::OkStatus();
}

absl::StatusOr<LayerRule> ParseRule(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) {
    return InvalidInput("RULE_MALFORMED",
                        absl::StrFormat("'%s' is not PATTERN:key=value,..., e.g. '*.down_proj:bits=8'", text));
  }
  Json overrides = Json::object();
  for (const absl::string_view setting : absl::StrSplit(text.substr(colon + 1), ',')) {
    if (setting == "skip") {
      overrides["skip"] = true;
    } else {
      RETURN_IF_ERROR(AddSetting(setting, overrides));
    }
  }
  if (const auto skip = overrides.find("skip"); skip != overrides.end() && skip->is_string()) *skip = *skip == "true";
  return LayerRule{std::string(text.substr(0, colon)), overrides};
}

absl::StatusOr<Json> ReadJob(const std::string& file) {
  if (file != "-") return ReadJsonFile(file);
  const std::string text((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  return ParseJson(text, "standard input");
}

}  // namespace

void AddJobFlags(CLI::App& command, JobFlags* flags) {
  JobSpec& spec = flags->spec;
  command.add_option("--job", flags->job_file,
                     "The whole job as JSON (- reads standard input), instead of the flags below");
  command.add_option("--model", spec.model, "Model folder")->group("Job");
  command.add_option("--recipe", spec.preset, "Preset; `quant recipes` lists them")->group("Job");
  command.add_option("--set", flags->settings, "Parameter key=value, repeatable; `quant recipes NAME` lists them")
      ->group("Job");
  command
      .add_option("--rule", flags->rules,
                  "'PATTERN:key=value,...' for matching layers, repeatable; 'PATTERN:skip' leaves them")
      ->group("Job");
  command.add_option("--calibration", spec.calibration_file, "Calibration text (plain, .jsonl or a .json list)")
      ->group("Job");
  command.add_option("--sequences", spec.calibration_sequences, "Calibration sequences; 0: the recipe's default")
      ->group("Job");
  command.add_option("--length", spec.calibration_length, "Tokens a sequence; 0: min(2048, context)")->group("Job");
  command.add_option("--seed", spec.seed, "Where the sequences are cut")->group("Job");
  command.add_option("--bos", spec.bos, "auto, always, never: begin each sequence with BOS")->group("Job");
  command.add_option("--evaluation", spec.evaluation_file, "Text to measure on; none: no evaluation")->group("Job");
  command.add_option("--context", spec.evaluation_context, "Tokens a window; 0: min(2048, context)")->group("Job");
  command.add_option("--windows", spec.evaluation_windows, "At most so many windows; 0: all")->group("Job");
  command.add_option("--protocol", spec.protocol, "plain, bos, gptq-2048, llamacpp-512")->group("Job");
  command.add_option("--export", spec.exports, "Also write this layout: gptq")->group("Job");
  command.add_option("--model-root", flags->roots.model_root, "Model names are below this folder")->group("Job");
  command.add_option("--data-root", flags->roots.data_root, "Text names are below this folder")->group("Job");
  AddExecutionFlags(command, &flags->execution);
  AddJsonFlag(command);
}

absl::StatusOr<JobSpec> JobFromFlags(const JobFlags& flags) {
  if (!flags.job_file.empty()) {
    ASSIGN_OR_RETURN(const Json json, ReadJob(flags.job_file));
    return ParseJobSpec(json, flags.job_file == "-" ? "standard input" : flags.job_file);
  }
  JobSpec spec = flags.spec;
  Json overrides = Json::object();
  for (const std::string& setting : flags.settings) RETURN_IF_ERROR(AddSetting(setting, overrides));
  spec.overrides = SharedJson(overrides);
  for (const std::string& text : flags.rules) {
    ASSIGN_OR_RETURN(LayerRule rule, ParseRule(text));
    spec.rules.push_back(std::move(rule));
  }
  spec.device = flags.execution.device;
  RETURN_IF_ERROR(CheckJobSpec(spec));
  return spec;
}

}  // namespace quantd
