#include "tests/server/job_history.h"

#include <algorithm>
#include <tuple>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "proto/job_state.h"

namespace quantd {
namespace {

using Kind = Operation::Kind;
using Answer = Operation::Answer;
using v1::FinishedJob;
using v1::QuantJob;

constexpr int kMaxAttempts = 3;
constexpr size_t kMaxVisited = 200'000;

// A job as the model has it.
struct ModelJob {
  std::string name = {};                                // empty until an answer says it
  QuantJob::State state = QuantJob::STATE_UNSPECIFIED;  // unspecified: there is no such job
  int attempt = 0;
  int64_t fence = 0;
  bool deleted = false;

  bool exists() const { return state != QuantJob::STATE_UNSPECIFIED; }
  bool Shows(const SeenJob& seen) const {
    return seen.state == state && seen.attempt == attempt && seen.deleted == deleted;
  }
};

bool ApplySubmit(const Operation& operation, ModelJob& job) {
  const bool known = job.exists();
  if (!known) job.state = QuantJob::QUEUED;
  if (operation.answer == Answer::kNone) return true;
  if (job.name.empty()) job.name = operation.name;
  return operation.duplicate == known && operation.name == job.name && job.Shows(operation.seen);
}

bool ApplyAbsent(const Operation& operation, ModelJob& job) {
  return !job.exists() || (operation.hides_deleted && job.deleted);
}

bool ApplyCancel(const Operation& operation, ModelJob& job) {
  if (!job.exists()) return false;
  if (job.state == QuantJob::QUEUED) job.state = QuantJob::CANCELLED;
  if (job.state == QuantJob::RUNNING) job.state = QuantJob::CANCELLING;
  return operation.answer == Answer::kNone || job.Shows(operation.seen);
}

bool ApplyDelete(const Operation& operation, ModelJob& job) {
  const bool possible = IsTerminal(job.state);
  if (operation.answer == Answer::kRefused) return job.exists() && !possible;
  if (possible) job.deleted = true;
  return operation.answer == Answer::kNone || (possible && job.Shows(operation.seen));
}

bool ApplyUndelete(const Operation& operation, ModelJob& job) {
  if (operation.answer == Answer::kRefused) return job.exists() && !job.deleted;
  if (operation.answer == Answer::kOk && !job.deleted) return false;
  job.deleted = false;
  return operation.answer == Answer::kNone || job.Shows(operation.seen);
}

// The same assignment again is what a worker gets whose answer was lost.
bool ApplyClaim(const Operation& operation, ModelJob& job) {
  // 0: the answer with the assignment was lost; the lease was seen in a later one.
  const bool known = operation.seen.attempt > 0;
  if (HasLease(job.state) && job.fence == operation.fence) return !known || job.attempt == operation.seen.attempt;
  if (job.state != QuantJob::QUEUED || operation.fence != job.fence + 1) return false;
  job.state = QuantJob::RUNNING;
  job.fence += 1;
  job.attempt += 1;
  return !known || job.attempt == operation.seen.attempt;
}

void LoseAttempt(ModelJob& job) {
  if (job.state == QuantJob::CANCELLING) {
    job.state = QuantJob::CANCELLED;
  } else if (job.state == QuantJob::RUNNING) {
    job.state = job.attempt < kMaxAttempts ? QuantJob::QUEUED : QuantJob::FAILED;
  }
}

void EndAttempt(FinishedJob::Outcome outcome, ModelJob& job) {
  if (job.state == QuantJob::CANCELLING) {
    job.state = QuantJob::CANCELLED;
  } else if (outcome == FinishedJob::OUTCOME_SUCCEEDED) {
    job.state = QuantJob::SUCCEEDED;
  } else if (outcome == FinishedJob::OUTCOME_FAILED) {
    job.state = QuantJob::FAILED;
  } else if (outcome == FinishedJob::OUTCOME_RETURNED) {
    job.state = QuantJob::QUEUED;
    job.attempt -= 1;
  } else {
    LoseAttempt(job);
  }
}

// Acknowledged: recorded now, or by an earlier call with this fence. Refused: the fence is not the newest.
bool ApplyFinish(const Operation& operation, ModelJob& job) {
  const bool newest = job.exists() && job.fence == operation.fence;
  if (operation.answer == Answer::kRefused) return !newest;
  if (newest && HasLease(job.state)) EndAttempt(operation.outcome, job);
  return newest || operation.answer == Answer::kNone;
}

bool Apply(const Operation& operation, ModelJob& job) {
  switch (operation.kind) {
    case Kind::kSubmit:
      return ApplySubmit(operation, job);
    case Kind::kRead:
      return job.exists() && job.Shows(operation.seen);
    case Kind::kAbsent:
      return ApplyAbsent(operation, job);
    case Kind::kCancel:
      return ApplyCancel(operation, job);
    case Kind::kDelete:
      return ApplyDelete(operation, job);
    case Kind::kUndelete:
      return ApplyUndelete(operation, job);
    case Kind::kClaim:
      return ApplyClaim(operation, job);
    case Kind::kFinish:
      return ApplyFinish(operation, job);
    case Kind::kLose:
      LoseAttempt(job);
      return true;
  }
  return false;
}

// Whether the operation changes nothing, now or at any later moment. Only deletion still changes a job that has ended.
bool IsRead(const Operation& operation, const ModelJob& job) {
  const bool deletes = operation.kind == Kind::kDelete || operation.kind == Kind::kUndelete;
  if (operation.kind == Kind::kRead || operation.kind == Kind::kAbsent || operation.answer == Answer::kRefused) {
    return true;
  }
  if (operation.kind == Kind::kSubmit) return job.exists();
  return IsTerminal(job.state) && !deletes;
}

class Search {
 public:
  explicit Search(const JobHistory& history) : history_(history), done_(history.size(), '0') {
    for (const Operation& operation : history_) unanswered_ += operation.end == kNever ? 0 : 1;
  }

  bool Explains(ModelJob job) {
    const std::vector<size_t> reads = TakeReads(job);
    const bool explained = unanswered_ == 0 || (Remember(job) && TryEach(job));
    for (const size_t index : reads) Undo(index);
    return explained;
  }
  bool gave_up() const { return visited_.size() >= kMaxVisited; }

 private:
  // No call that is still to come ended before this one began.
  bool MayBeNext(size_t index, int64_t first_end) const {
    return done_[index] == '0' && history_[index].begin < first_end;
  }
  int64_t FirstEnd() const {
    int64_t first = kNever;
    for (size_t i = 0; i < history_.size(); ++i) {
      if (done_[i] == '0') first = std::min(first, history_[i].end);
    }
    return first;
  }

  // A read that fits now changes nothing: taking it at once loses no order.
  std::vector<size_t> TakeReads(ModelJob& job) {
    std::vector<size_t> taken;
    for (size_t before = 1; before != taken.size() + 1;) {
      before = taken.size() + 1;
      const int64_t first_end = FirstEnd();
      for (size_t i = 0; i < history_.size(); ++i) {
        if (!IsRead(history_[i], job) || !MayBeNext(i, first_end)) continue;
        ModelJob same = job;
        if (!Apply(history_[i], same)) continue;
        job.name = same.name;  // a name that is learned is no change
        Do(i);
        taken.push_back(i);
      }
    }
    return taken;
  }

  bool TryEach(const ModelJob& job) {
    const int64_t first_end = FirstEnd();
    for (size_t i = 0; i < history_.size(); ++i) {
      if (!MayBeNext(i, first_end)) continue;
      ModelJob next = job;
      if (!Apply(history_[i], next)) continue;
      Do(i);
      const bool explained = Explains(next);
      Undo(i);
      if (explained) return true;
    }
    return false;
  }

  void Do(size_t index) {
    done_[index] = '1';
    if (history_[index].end != kNever) --unanswered_;
  }
  void Undo(size_t index) {
    done_[index] = '0';
    if (history_[index].end != kNever) ++unanswered_;
  }

  // False when this was tried already.
  bool Remember(const ModelJob& job) {
    if (gave_up()) return false;
    return visited_
        .insert(absl::StrCat(done_, " ", job.name, " ", static_cast<int>(job.state), " ", job.attempt, " ", job.fence,
                             " ", job.deleted))
        .second;
  }

  const JobHistory& history_;
  std::string done_;       // '1' for each operation that has its moment
  size_t unanswered_ = 0;  // operations with an answer that is still to be explained
  std::unordered_set<std::string> visited_;
};

std::string SeenText(const SeenJob& seen) {
  return absl::StrFormat("%s attempt %d%s revision %d", StateName(seen.state), seen.attempt,
                         seen.deleted ? " deleted" : "", seen.revision);
}

}  // namespace

SeenJob Seen(const QuantJob& job) {
  return {.state = job.state(), .attempt = job.attempt(), .deleted = job.has_delete_time(), .revision = job.revision()};
}

std::string Text(const Operation& operation) {
  static constexpr const char* kKinds[] = {"submit",   "read",  "absent", "cancel", "delete",
                                           "undelete", "claim", "finish", "lose"};
  static constexpr const char* kAnswers[] = {"ok", "refused", "no answer"};
  const std::string end = operation.end == kNever ? "-" : absl::StrCat(operation.end);
  std::string text =
      absl::StrFormat("[%d..%s] client %d %s: %s", operation.begin, end, operation.client,
                      kKinds[static_cast<int>(operation.kind)], kAnswers[static_cast<int>(operation.answer)]);
  if (operation.fence > 0) absl::StrAppend(&text, ", fence ", operation.fence);
  if (operation.kind == Kind::kFinish) absl::StrAppend(&text, ", ", FinishedJob::Outcome_Name(operation.outcome));
  if (operation.kind == Kind::kSubmit) absl::StrAppend(&text, operation.duplicate ? ", again " : ", ", operation.name);
  if (operation.seen.revision > 0) absl::StrAppend(&text, ", ", SeenText(operation.seen));
  return text;
}

absl::Status CheckJobHistory(const JobHistory& history) {
  Search search(history);
  if (search.Explains(ModelJob())) return absl::OkStatus();
  JobHistory sorted = history;
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::string text =
      search.gave_up() ? "these calls have too many orders to try:" : "no order of these calls explains their answers:";
  for (const Operation& operation : sorted) absl::StrAppend(&text, "\n  ", Text(operation));
  if (search.gave_up()) return ReasonError(absl::StatusCode::kResourceExhausted, "SEARCH_GIVEN_UP", text);
  return ReasonError(absl::StatusCode::kInternal, "NOT_LINEARIZABLE", text);
}

absl::Status CheckRevisions(const JobHistory& history) {
  JobHistory reads;
  for (const Operation& operation : history) {
    if (operation.answer == Answer::kOk && operation.seen.revision > 0) reads.push_back(operation);
  }
  for (const Operation& earlier : reads) {
    for (const Operation& later : reads) {
      const bool older = earlier.end < later.begin && earlier.seen.revision > later.seen.revision;
      const auto shown = [](const SeenJob& seen) { return std::tuple(seen.state, seen.attempt, seen.deleted); };
      const bool differs = earlier.seen.revision == later.seen.revision && shown(earlier.seen) != shown(later.seen);
      if (!older && !differs) continue;
      return ReasonError(absl::StatusCode::kInternal, "REVISION_DISAGREES",
                         absl::StrCat(Text(earlier), "\n  but ", Text(later)));
    }
  }
  return absl::OkStatus();
}

}  // namespace quantd
