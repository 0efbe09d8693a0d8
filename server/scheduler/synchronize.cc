// Scheduler::Synchronize: what a worker has to hear, from what it says and what the store holds.
#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/scheduler/job_picker.h"
#include "server/scheduler/scheduler.h"
#include "server/scheduler/synchronize_request.h"
#include "server/scheduler/transitions.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

using v1::QuantJob;
using v1::SynchronizeRequest;
using v1::SynchronizeResponse;

constexpr absl::Duration kLongestPoll = absl::Seconds(60);
constexpr absl::Duration kIdleCallInterval = absl::Seconds(20);
// How often a waiting call looks whether its caller is still there, and whether its quarantine is over.
constexpr absl::Duration kLookUp = absl::Seconds(1);

void AddFence(const std::string& job, int64_t fence, google::protobuf::RepeatedPtrField<v1::JobFence>* list) {
  v1::JobFence* entry = list->Add();
  entry->set_job(job);
  entry->set_fence(fence);
}

}  // namespace

class Scheduler::Call {
 public:
  Call(Scheduler& scheduler, const SynchronizeRequest& request)
      : scheduler_(scheduler),
        request_(request),
        lease_(scheduler.options_.lease),
        picker_({.store = scheduler.store_,
                 .admission = scheduler.admission_,
                 .workers = scheduler.workers_,
                 .rooms = scheduler.rooms_,
                 .draining = scheduler.draining_,
                 .lease = scheduler.options_.lease,
                 .large_job_patience = scheduler.options_.ageing},
                request) {
    for (const v1::RunningJob& running : request.running()) reported_.emplace(running.job(), running.fence());
    for (const v1::FinishedJob& finished : request.finished()) reported_.emplace(finished.job(), finished.fence());
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() {
    if (entered_) scheduler_.workers_.Leave(request_.worker_id());
  }

  absl::Status Enter() {
    ASSIGN_OR_RETURN(const WorkerRegistry::Arrival arrival, scheduler_.workers_.Enter(request_));
    entered_ = true;
    number_ = arrival.call;
    return arrival.new_incarnation ? RequeueFormerIncarnations() : absl::OkStatus();
  }

  absl::Status RecordFinished() {
    for (const v1::FinishedJob& finished : request_.finished()) {
      const absl::Status status = scheduler_.Finish(finished);
      if (status.ok()) {
        AddFence(finished.job(), finished.fence(), response_.mutable_acknowledged());
      } else if (IsStale(status)) {
        RETURN_IF_ERROR(AnswerRepeated(finished));
      } else if (status.code() == absl::StatusCode::kInvalidArgument) {
        return WithField(status, "finished");
      } else if (ReasonOf(status) != kEndInProgress) {
        // Told again in the worker's next call: a full disk may have space by then. Until then the job is the worker's.
        KeepLease(finished);
        Log(Severity::kError, "publish_failed", {{"job", finished.job()}, {"reason", ReasonOf(status)}},
            status.message());
      }
    }
    return absl::OkStatus();
  }

  absl::Status RenewRunning() {
    for (const v1::RunningJob& running : request_.running()) {
      const auto renew = [&](JobRecord& record) {
        return RenewLease(record, running, scheduler_.store_.Now(), lease_);
      };
      const absl::Status status = scheduler_.Update(DurableStep::kRenew, running.job(), renew).status();
      if (IsStale(status)) {
        scheduler_.metrics_.Increment(Metric::kFenceRejections);
        AddFence(running.job(), running.fence(), response_.mutable_stale());
      } else {
        RETURN_IF_ERROR(status);
      }
    }
    return absl::OkStatus();
  }

  // Cancellations, assignments whose reply was lost, new assignments. May be called again after a wait. The ids of the
  // jobs that were claimed.
  absl::StatusOr<std::vector<std::string>> FillOrders() {
    ASSIGN_OR_RETURN(const std::vector<JobRecord> leased, scheduler_.store_.Leased(request_.worker_id()));
    picker_.HoldNothing();
    for (const JobRecord& record : leased) {
      if (record.incarnation != request_.incarnation()) continue;
      picker_.Hold(record.job);
      if (record.job.state() == QuantJob::CANCELLING) {
        AddFence(record.id, record.fence, response_.mutable_cancel());
      } else if (reported_.count({record.id, record.fence}) == 0) {
        RETURN_IF_ERROR(RepeatAssignment(record));
      }
    }
    std::vector<std::string> claimed;
    while (true) {
      ASSIGN_OR_RETURN(const std::optional<JobRecord> record, picker_.Take());
      if (!record.has_value()) break;
      Announce(*record);
      AddAssignment(*record);
      claimed.push_back(record->id);
    }
    return claimed;
  }

  absl::Status WaitForOrders(const std::function<bool()>& is_cancelled) {
    const absl::Time deadline = RealClock().Now() + Patience();
    WaitingWorkers::Place place(scheduler_.waiting_, request_.worker_id(), picker_.Offer());
    RETURN_IF_ERROR(Scan(place));
    // A later call of this worker must find no job taken behind its back.
    while (!HasNews() && IsNewest() && !scheduler_.draining_) {
      const absl::Duration left = deadline - RealClock().Now();
      if (left <= absl::ZeroDuration()) break;
      const bool woken = place.Wait(std::min(left, kLookUp));
      if (is_cancelled() || !IsNewest()) break;
      if (woken || slots_ != picker_.UsableSlots()) RETURN_IF_ERROR(Scan(place));
    }
    return absl::OkStatus();
  }

  SynchronizeResponse TakeResponse() {
    const bool busy = request_.running_size() > 0 || response_.assignments_size() > 0;
    const absl::Duration interval = busy ? std::min(lease_ / 3, kIdleCallInterval) : kIdleCallInterval;
    response_.set_next_call_ms(static_cast<int32_t>(absl::ToInt64Milliseconds(interval)));
    response_.set_server_draining(scheduler_.draining_);
    return std::move(response_);
  }

 private:
  static bool IsStale(const absl::Status& status) {
    return ReasonOf(status) == "STALE_LEASE" || ReasonOf(status) == "JOB_NOT_FOUND";
  }

  bool HasNews() const {
    return response_.assignments_size() > 0 || response_.cancel_size() > 0 || response_.stale_size() > 0 ||
           response_.acknowledged_size() > 0;
  }

  absl::Duration Patience() const {
    const absl::Duration asked = std::min(absl::Milliseconds(request_.poll_ms()), kLongestPoll);
    return request_.running_size() > 0 ? std::min(asked, lease_ / 3) : asked;
  }

  absl::Status RequeueFormerIncarnations() {
    ASSIGN_OR_RETURN(std::vector<JobRecord> leased, scheduler_.store_.Leased(request_.worker_id()));
    leased.erase(std::remove_if(leased.begin(), leased.end(),
                                [&](const JobRecord& record) { return record.incarnation == request_.incarnation(); }),
                 leased.end());
    return scheduler_.LoseAttempts(leased, "was restarted").status();
  }

  // The result was recorded by an earlier call whose reply was lost: say so again. Else the lease is somebody else's.
  absl::Status AnswerRepeated(const v1::FinishedJob& finished) {
    const auto record = scheduler_.store_.Get(finished.job());
    if (!record.ok() && ReasonOf(record.status()) != "JOB_NOT_FOUND") return record.status();
    const bool recorded = record.ok() && record->fence == finished.fence() && !HasLease(record->job.state());
    AddFence(finished.job(), finished.fence(), recorded ? response_.mutable_acknowledged() : response_.mutable_stale());
    return absl::OkStatus();
  }

  // As far as the store can be written: the error that made it necessary may be the store's.
  void KeepLease(const v1::FinishedJob& finished) {
    v1::RunningJob as_running;
    as_running.set_fence(finished.fence());
    const auto renew = [&](JobRecord& record) {
      return RenewLease(record, as_running, scheduler_.store_.Now(), lease_);
    };
    (void)scheduler_.Update(DurableStep::kRenew, finished.job(), renew);
  }

  absl::Status RepeatAssignment(const JobRecord& record) {
    v1::RunningJob as_running;
    as_running.set_fence(record.fence);
    const auto renew = [&](JobRecord& current) {
      return RenewLease(current, as_running, scheduler_.store_.Now(), lease_);
    };
    const auto renewed = scheduler_.Update(DurableStep::kRenew, record.id, renew);
    if (IsStale(renewed.status())) return absl::OkStatus();
    RETURN_IF_ERROR(renewed.status());
    AddAssignment(*renewed);
    return absl::OkStatus();
  }

  bool IsNewest() const { return scheduler_.workers_.IsNewest(request_.worker_id(), number_); }

  absl::Status Scan(WaitingWorkers::Place& place) {
    place.BeginScan();
    slots_ = picker_.UsableSlots();
    ASSIGN_OR_RETURN(const std::vector<std::string> claimed, FillOrders());
    place.EndScan(claimed, picker_.Offer());
    return absl::OkStatus();
  }

  void Announce(const JobRecord& claimed) {
    scheduler_.news_.Changed(claimed.id);
    scheduler_.store_.NotifyOthers();
    if (claimed.fence == 1) {
      const absl::Duration waited = scheduler_.store_.Now() - FromTimestamp(claimed.job.create_time());
      scheduler_.metrics_.Observe(Metric::kJobQueueSeconds, absl::ToDoubleSeconds(waited),
                                  {DeviceOf(claimed.job.spec())});
    }
    Log(Severity::kInfo, "job_assigned",
        {{"job", claimed.id}, {"worker", request_.worker_id()}, {"fence", absl::StrCat(claimed.fence)}});
    // The worker has given this call up and waits in a later one, which did not see the job yet: let it look again.
    if (!IsNewest()) scheduler_.waiting_.WakeWorker(request_.worker_id());
  }

  void AddAssignment(const JobRecord& record) {
    v1::Assignment* assignment = response_.add_assignments();
    assignment->set_job(record.id);
    assignment->set_fence(record.fence);
    *assignment->mutable_spec() = record.job.spec();
    assignment->set_lease_ms(static_cast<int32_t>(absl::ToInt64Milliseconds(lease_)));
    assignment->set_attempt(record.job.attempt());
    *assignment->mutable_estimate() = record.job.estimate();
    if (record.checkpoint.has_value()) *assignment->mutable_checkpoint() = *record.checkpoint;
    assignment->set_run_timeout_ms(record.job.spec().run_timeout_ms());
  }

  Scheduler& scheduler_;
  const SynchronizeRequest& request_;
  const absl::Duration lease_;
  std::set<std::pair<std::string, int64_t>> reported_;  // running or finished by the worker's own account
  JobPicker picker_;
  int slots_ = 0;  // usable ones, when last looked at
  bool entered_ = false;
  int64_t number_ = 0;
  SynchronizeResponse response_;
};

absl::StatusOr<SynchronizeResponse> Scheduler::Synchronize(const SynchronizeRequest& request,
                                                           const std::function<bool()>& is_cancelled) {
  RETURN_IF_ERROR(CheckSynchronizeRequest(request));
  Call call(*this, request);
  RETURN_IF_ERROR(call.Enter());
  // First the leases: publishing a large artifact takes its time.
  RETURN_IF_ERROR(call.RenewRunning());
  RETURN_IF_ERROR(call.RecordFinished());
  RETURN_IF_ERROR(call.WaitForOrders(is_cancelled));
  return call.TakeResponse();
}

}  // namespace quantd
