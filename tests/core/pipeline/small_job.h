// Small whole jobs on the embedded models, run to their end, cancelled, or killed half-way in a process of their own.
#ifndef QUANTD_TESTS_CORE_PIPELINE_SMALL_JOB_H_
#define QUANTD_TESTS_CORE_PIPELINE_SMALL_JOB_H_

#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/pipeline/run_job.h"

namespace quantd {

// A copy of an embedded model ("quantd-tiny-llama") with its first blocks only.
std::string ModelOfBlocks(const std::string& name, int blocks);

// Every element of a tensor of such a copy becomes `value`.
void FillTensor(const std::string& model_folder, const std::string& tensor, float value);

// A job of a second or less, with evaluation.
JobSpec SmallJob(const std::string& model_folder, const std::string& preset);

struct SmallRun {
  JobSpec spec;
  std::string out;
  std::string checkpoint = {};  // empty: none
  absl::Duration interval = absl::InfiniteDuration();
  int threads = 1;
  uint64_t memory_budget_bytes = 0;  // as ExecutionOptions
  std::function<void(const JobEstimate&)> on_plan = nullptr;
  ProgressCallback progress = nullptr;
  std::function<void(const CheckpointNotice&)> on_commit = nullptr;
  std::function<void(const CheckpointNotice&)> on_resume = nullptr;
  std::function<void(const absl::Status&)> on_problem = nullptr;
  const std::atomic<bool>* cancelled = nullptr;
};

absl::StatusOr<Report> RunSmallJob(const SmallRun& run);

// Runs in a process of its own, which `run`'s callbacks may end at any instant with Die(). True when it died so, false
// when it ran to its end; any other end is a failure of the test.
bool RunUntilDeath(const SmallRun& run);
[[noreturn]] void Die();

// SHA-256 of every digested file below an artifact folder, and of its manifest.
std::map<std::string, std::string> Digests(const std::string& artifact);

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_PIPELINE_SMALL_JOB_H_
