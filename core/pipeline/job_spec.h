// What a job is to do: the plain form of quantd.v1.QuantJobSpec, as `quant run --job FILE` reads it.
#ifndef QUANTD_CORE_PIPELINE_JOB_SPEC_H_
#define QUANTD_CORE_PIPELINE_JOB_SPEC_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/json.h"
#include "core/quant/recipe.h"

namespace quantd {

struct JobSpec {
  std::string model;  // a folder, or a name below JobRoots.model_root
  std::string preset;
  SharedJson overrides;  // object
  std::vector<LayerRule> rules;

  std::string calibration_file;       // empty: none; else a path, or a name below JobRoots.data_root
  int64_t calibration_sequences = 0;  // 0: the recipe's default
  int64_t calibration_length = 0;     // 0: min(2048, context of the model)
  uint64_t seed = 0;
  std::string bos = "auto";  // auto, always, never

  std::string evaluation_file;     // empty: none
  int64_t evaluation_context = 0;  // 0: min(2048, context of the model)
  int64_t evaluation_windows = 0;  // 0: all
  std::string protocol = "plain";

  std::vector<std::string> exports;
  std::string device = "auto";
  std::map<std::string, std::string> labels;
};

// The snake_case JSON form of QuantJobSpec. Integers may be decimal strings, as protobuf writes 64-bit ones. Reasons:
// JOB_SPEC_INVALID, JOB_FIELD_UNKNOWN (lists the known ones), JOB_FIELD_OUT_OF_RANGE; FieldOf() is "spec.<path>".
absl::StatusOr<JobSpec> ParseJobSpec(const Json& json, absl::string_view what);

// Limits and choices that need no file. Called by ParseJobSpec; call it for a spec made from flags.
absl::Status CheckJobSpec(const JobSpec& spec);

// Where names lead: empty roots leave names as plain paths.
struct JobRoots {
  std::string model_root;
  std::string data_root;
};

// Replaces names by real paths below the roots. MODEL_NOT_FOUND, DATA_NOT_FOUND, PATH_ESCAPES_ROOT, PATH_INVALID.
absl::Status ResolveJobPaths(const JobRoots& roots, JobSpec& spec);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_JOB_SPEC_H_
