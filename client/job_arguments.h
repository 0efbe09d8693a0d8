// From command-line arguments to a job spec: the same words that `quant run` takes.
//
//   --set bits=3                        recipe.overrides: numbers, true and false as such, all else as text
//   --rule '*.down_proj:bits=8,act_order=true'  recipe.rules, in the order given; the first that matches wins
//   --label team=search                 labels
//   --queue-timeout 30m                 queue_timeout_ms: a number with a unit, "ms", "s", "m" or "h"
//   --job FILE                          the JSON form of QuantJobSpec; arguments beside it change single fields
#ifndef QUANTD_CLIENT_JOB_ARGUMENTS_H_
#define QUANTD_CLIENT_JOB_ARGUMENTS_H_

#include <google/protobuf/struct.pb.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "quantd/v1/quant_job.pb.h"

namespace quantd {

// Reason of every error in here (INVALID_ARGUMENT): the argument cannot be read, so nothing was sent.
inline constexpr absl::string_view kBadArgument = "BAD_ARGUMENT";

// An absent value leaves the field as the job file has it.
struct JobArguments {
  std::optional<std::string> job_file;  // "-": standard input
  std::optional<std::string> model;
  std::optional<std::string> recipe;
  std::vector<std::string> sets;
  std::vector<std::string> rules;
  std::optional<std::string> calibration;
  std::optional<int32_t> sequences;
  std::optional<int32_t> length;
  std::optional<uint32_t> seed;
  std::optional<std::string> bos;
  std::optional<std::string> evaluation;
  std::optional<int32_t> context;
  std::optional<int32_t> windows;
  std::optional<std::string> protocol;
  std::vector<std::string> exports;
  std::optional<std::string> device;
  std::vector<std::string> labels;
  std::optional<int32_t> priority;
  std::optional<std::string> queue_timeout;  // "90s", "30m", "1h30m"
  std::optional<std::string> run_timeout;
  std::optional<int32_t> max_attempts;
};

// Reads the job file, if any, then lays the arguments over it. Rules of the arguments come before those of the file, so
// that they win. Errors: BAD_ARGUMENT, JSON_MALFORMED, or those of reading the file.
absl::Status MakeSpec(const JobArguments& arguments, v1::QuantJobSpec* spec);

// "bits=3" into `overrides`.
absl::Status AddAssignment(absl::string_view assignment, google::protobuf::Struct* overrides);

// "PATTERN:name=value,name=value"; "PATTERN:skip" leaves the layers as they are.
absl::Status AddRule(absl::string_view text, v1::LayerRule* rule);

}  // namespace quantd

#endif  // QUANTD_CLIENT_JOB_ARGUMENTS_H_
