#include "worker/agent/job_table.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/logging.h"

namespace quantd {
namespace {

constexpr absl::Duration kDefaultLease = absl::Seconds(15);  // when the server names none
constexpr int kMaxReportedResults = 1000;                    // of one request; the rest in the next ones

// The margin of 1/6 covers the child's end, and what the clocks of two machines differ by in one lease.
absl::Duration FenceAfter(absl::Duration lease) {
  return lease * 5 / 6;
}

}  // namespace

bool JobTable::Job::Is(const std::string& job, int64_t fence) const {
  return runner->assignment().job() == job && runner->assignment().fence() == fence;
}

JobTable::TimePoint JobTable::Job::fence_at() const {
  return renewed_at + absl::ToChronoNanoseconds(FenceAfter(lease));
}

JobTable::JobTable(const RunnerOptions& options, RunnerServices services, int slots,
                   std::function<void(JobRunner::Change)> on_change)
    : options_(options), services_(services), slots_(slots), on_change_(std::move(on_change)) {}

void JobTable::Update(TimePoint now) {
  for (auto job = jobs_.begin(); job != jobs_.end();) {
    if (!job->runner->ended()) {
      job->runner->EnforceRunDeadline(now);
      if (!job->lost && now >= job->fence_at()) Lose(*job, "its lease was not renewed in time");
      ++job;
      continue;
    }
    const std::optional<v1::FinishedJob> result = job->runner->result();
    if (!job->lost && result.has_value()) {
      Log(Severity::kInfo, "job_ended",
          {{"job", result->job()},
           {"outcome", v1::FinishedJob::Outcome_Name(result->outcome())},
           {"reason", result->error().reason()}});
      if (on_result_) on_result_(*result);
      results_.push_back(*result);
    }
    job = jobs_.erase(job);
  }
}

void JobTable::Report(v1::SynchronizeRequest& request) const {
  for (const Job& job : jobs_) {
    if (!job.lost) *request.add_running() = job.runner->running();
  }
  size_t bytes = 0;
  for (const v1::FinishedJob& result : results_) {
    bytes += result.ByteSizeLong();
    if (bytes > kMaxResultBytes || request.finished_size() >= kMaxReportedResults) break;
    *request.add_finished() = result;
  }
}

void JobTable::Renew(const v1::SynchronizeRequest& request, TimePoint sent_at) {
  for (const v1::RunningJob& running : request.running()) {
    if (Job* job = Find(running.job(), running.fence()); job != nullptr) job->renewed_at = sent_at;
  }
}

bool JobTable::Apply(const v1::SynchronizeResponse& response, bool takes_work) {
  bool news = false;
  for (const v1::JobFence& which : response.acknowledged()) news = Forget(which) || news;
  for (const v1::JobFence& which : response.stale()) news = Abandon(which) || news;
  for (const v1::JobFence& which : response.cancel()) news = Cancel(which) || news;
  for (const v1::Assignment& assignment : response.assignments()) news = Start(assignment, takes_work) || news;
  return news;
}

bool JobTable::Start(const v1::Assignment& assignment, bool takes_work) {
  const std::string& name = assignment.job();
  if (Find(name, assignment.fence()) != nullptr || HasResult(name, assignment.fence())) return false;
  for (Job& job : jobs_) {
    if (!job.lost && job.runner->assignment().job() == name) Lose(job, "it was assigned again");
  }
  if (!takes_work || running_count() >= slots_) {
    AddResult(name, assignment.fence(), v1::FinishedJob::OUTCOME_RETURNED);
    return true;
  }
  Log(Severity::kInfo, "job_started",
      {{"job", name}, {"fence", absl::StrCat(assignment.fence())}, {"attempt", absl::StrCat(assignment.attempt())}});
  const absl::Duration lease = absl::Milliseconds(assignment.lease_ms());
  jobs_.push_back({.runner = std::make_unique<JobRunner>(options_, services_, assignment, on_change_),
                   .lease = lease > absl::ZeroDuration() ? lease : kDefaultLease,
                   .renewed_at = std::chrono::steady_clock::now()});
  return true;
}

// A job that is not here has no child: an assignment whose answer was lost, cancelled before it was repeated.
bool JobTable::Cancel(const v1::JobFence& which) {
  if (HasResult(which.job(), which.fence())) return false;
  Job* job = Find(which.job(), which.fence());
  if (job == nullptr) {
    AddResult(which.job(), which.fence(), v1::FinishedJob::OUTCOME_CANCELLED);
    return true;
  }
  return job->runner->Stop(StopReason::kCancel);
}

bool JobTable::Abandon(const v1::JobFence& which) {
  Job* job = Find(which.job(), which.fence());
  if (job == nullptr || job->lost) return Forget(which);
  Lose(*job, "its lease is somebody else's");
  return true;
}

bool JobTable::Forget(const v1::JobFence& which) {
  return results_.remove_if([&](const v1::FinishedJob& result) {
    return result.job() == which.job() && result.fence() == which.fence();
  }) > 0;
}

void JobTable::Lose(Job& job, absl::string_view why) {
  Log(Severity::kWarning, "lease_lost",
      {{"job", job.runner->assignment().job()}, {"fence", absl::StrCat(job.runner->assignment().fence())}}, why);
  job.lost = true;
  job.runner->Stop(StopReason::kLostLease);
}

void JobTable::AddResult(const std::string& job, int64_t fence, v1::FinishedJob::Outcome outcome) {
  v1::FinishedJob& result = results_.emplace_back();
  result.set_job(job);
  result.set_fence(fence);
  result.set_outcome(outcome);
}

void JobTable::StopAll(StopReason reason) {
  for (Job& job : jobs_) job.runner->Stop(reason);
}

JobTable::Job* JobTable::Find(const std::string& job, int64_t fence) {
  const auto found = std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& one) { return one.Is(job, fence); });
  return found == jobs_.end() ? nullptr : &*found;
}

bool JobTable::HasResult(const std::string& job, int64_t fence) const {
  return std::any_of(results_.begin(), results_.end(),
                     [&](const v1::FinishedJob& result) { return result.job() == job && result.fence() == fence; });
}

int JobTable::running_count() const {
  return static_cast<int>(std::count_if(jobs_.begin(), jobs_.end(), [](const Job& job) { return !job.lost; }));
}

bool JobTable::any_running() const {
  return running_count() > 0;
}

absl::Duration JobTable::ShortestLease() const {
  absl::Duration shortest = absl::InfiniteDuration();
  for (const Job& job : jobs_) {
    if (!job.lost) shortest = std::min(shortest, job.lease);
  }
  return shortest;
}

absl::Duration JobTable::UntilFence(TimePoint now) const {
  absl::Duration shortest = absl::InfiniteDuration();
  for (const Job& job : jobs_) {
    if (!job.lost) shortest = std::min(shortest, absl::FromChrono(job.fence_at() - now));
  }
  return shortest;
}

}  // namespace quantd
