// What the server knows about models and recipes: nothing. It asks `quant`, a process of its own, so that no byte of a
// model file is ever parsed here.
#ifndef QUANTD_SERVER_PLANNER_PLANNER_H_
#define QUANTD_SERVER_PLANNER_PLANNER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/objects/model_place.h"
#include "quantd/v1/quant_service.pb.h"
#include "server/process/process.h"

namespace quantd {

struct PlannerOptions {
  std::string quant_path;
  ModelSource models;
  std::string data_root;
  std::string scratch_dir;                     // for job files; created when absent
  absl::Duration timeout = absl::Seconds(60);  // of one `quant plan`, and before that of the wait for its turn
  int max_processes = 2;
};

// Checks specs against the model, the data and the catalogue. Thread-safe.
class Planner {
 public:
  virtual ~Planner() = default;
  // The estimate, or why the job cannot work: `quant`'s reason, message and field, its code one of the canonical ones.
  // Waits at most until `deadline`: DEADLINE_EXCEEDED PLANNER_BUSY when no process became free, PLAN_TIMED_OUT when its
  // own took too long. UNAVAILABLE PLANNER_FAILED when `quant` crashed.
  virtual absl::StatusOr<v1::JobEstimate> Plan(const v1::QuantJobSpec& spec, absl::Time deadline) = 0;
};

// Runs `quant plan`. Answers are kept by spec and by size and time of every file of the model and of the texts.
std::unique_ptr<Planner> NewQuantPlanner(PlannerOptions options, CommandRunner& runner);

// `quant recipes`. FAILED_PRECONDITION QUANT_MISSING when the program is not there or does not answer with a catalogue.
absl::StatusOr<v1::ListRecipesResponse> LoadCatalogue(const std::string& quant_path, CommandRunner& runner);

}  // namespace quantd

#endif  // QUANTD_SERVER_PLANNER_PLANNER_H_
