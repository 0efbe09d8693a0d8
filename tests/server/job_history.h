// A history of concurrent calls on jobs, and whether some order of them explains every answer.
//
// The reference model says what a job may do, from docs/job-states.md and not from the code. A history is linearizable
// when each call can be given one moment between its begin and its end such that the model, told of the calls in that
// order, gives the recorded answers. A call without an answer may have taken effect at any later moment, or never. The
// search is Wing and Gong's with the memory of visited states added by Lowe; jobs are independent, so each is searched
// alone.
#ifndef QUANTD_TESTS_SERVER_JOB_HISTORY_H_
#define QUANTD_TESTS_SERVER_JOB_HISTORY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

// Ticks of a counter that all threads share: their order is the real order.
inline constexpr int64_t kNever = INT64_MAX;

// A job as an answer showed it.
struct SeenJob {
  v1::QuantJob::State state = v1::QuantJob::STATE_UNSPECIFIED;
  int attempt = 0;
  bool deleted = false;
  int64_t revision = 0;
};
SeenJob Seen(const v1::QuantJob& job);

struct Operation {
  enum class Kind {
    kSubmit,
    kRead,
    kAbsent,  // a read that found no such job; `hides_deleted` when it would not have shown a deleted one either
    kCancel,
    kDelete,
    kUndelete,
    kClaim,
    kFinish,
    kLose,  // nobody's call: the lease was made to expire, so the attempt may be lost from then on
  };
  enum class Answer { kOk, kRefused, kNone };

  Kind kind = Kind::kRead;
  int client = 0;
  int64_t begin = 0;
  int64_t end = kNever;
  Answer answer = Answer::kOk;
  SeenJob seen = {};                                                        // kOk of all but kAbsent, kFinish, kLose
  std::string name = {};                                                    // kSubmit: that the job was given
  bool duplicate = false;                                                   // kSubmit
  bool hides_deleted = false;                                               // kAbsent
  int64_t fence = 0;                                                        // kClaim, kFinish
  v1::FinishedJob::Outcome outcome = v1::FinishedJob::OUTCOME_UNSPECIFIED;  // kFinish; kOk: acknowledged
};
std::string Text(const Operation& operation);

using JobHistory = std::vector<Operation>;

// OK, or INTERNAL NOT_LINEARIZABLE with the history in the order of its calls. RESOURCE_EXHAUSTED when the search was
// given up.
absl::Status CheckJobHistory(const JobHistory& history);

// What needs no search: a later read never shows an older revision, and one revision is one state. INTERNAL
// REVISION_DISAGREES.
absl::Status CheckRevisions(const JobHistory& history);

}  // namespace quantd

#endif  // QUANTD_TESTS_SERVER_JOB_HISTORY_H_
