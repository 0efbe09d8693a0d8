// The flags that describe a job, shared by `quant run` and `quant plan`.
#ifndef QUANTD_WORKER_QUANT_JOB_FLAGS_H_
#define QUANTD_WORKER_QUANT_JOB_FLAGS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/pipeline/job_spec.h"

namespace CLI {
class App;
}

namespace quantd {

struct JobFlags {
  std::string job_file;  // "-": stdin
  JobSpec spec;
  JobRoots roots;
  std::vector<std::string> settings;  // key=value
  std::vector<std::string> rules;     // PATTERN:key=value,key=value
  ExecutionOptions execution;
};

void AddJobFlags(CLI::App& command, JobFlags* flags);

// The spec of --job, or of the flags. Reasons: those of ParseJobSpec; SETTING_MALFORMED, RULE_MALFORMED.
absl::StatusOr<JobSpec> JobFromFlags(const JobFlags& flags);

}  // namespace quantd

#endif  // QUANTD_WORKER_QUANT_JOB_FLAGS_H_
