// Which jobs one call of a worker takes, beside those that the worker holds: see "Placement" in docs/scheduling.md.
#ifndef QUANTD_SERVER_SCHEDULER_JOB_PICKER_H_
#define QUANTD_SERVER_SCHEDULER_JOB_PICKER_H_

#include <atomic>
#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "quantd/v1/worker_service.pb.h"
#include "server/scheduler/admission.h"
#include "server/scheduler/room_keeper.h"
#include "server/scheduler/waiting_workers.h"
#include "server/scheduler/worker_registry.h"
#include "server/store/job_store.h"

namespace quantd {

// What a job takes of a worker, by its plan.
JobNeeds NeedsOf(const v1::QuantJob& job);

struct JobPickerParts {
  JobStore& store;
  const Admission& admission;
  const WorkerRegistry& workers;
  RoomKeeper& rooms;
  const std::atomic<bool>& draining;
  absl::Duration lease;
  absl::Duration large_job_patience;  // how long a job without room is passed over
};

// Used by one thread; `request` must outlive it.
class JobPicker {
 public:
  JobPicker(const JobPickerParts& parts, const v1::SynchronizeRequest& request) : parts_(parts), request_(request) {}

  // What the worker holds already.
  void HoldNothing() { held_ = {}; }
  void Hold(const v1::QuantJob& job);

  // What it has for one more job.
  WorkerOffer Offer() const { return OfferBeside(held_); }
  // How many slots it may use.
  int UsableSlots() const { return parts_.workers.UsableSlots(request_.worker_id()); }

  // Leases the job whose turn it is to the worker; nothing when none fits. A job that fits the worker, but not beside
  // what that holds, is passed over; once it has waited long, one worker takes nothing else until there is room.
  absl::StatusOr<std::optional<JobRecord>> Take();

 private:
  struct Held {
    int64_t jobs = 0;
    int64_t memory_bytes = 0;
    int64_t disk_bytes = 0;
  };

  WorkerOffer OfferBeside(const Held& held) const;
  ClaimQuery QueryOf(const WorkerOffer& offer) const;
  absl::StatusOr<std::optional<JobRecord>> TakeFitting(const WorkerOffer& offer);
  // Looks for a job that fits `wanted`, and takes it if it fits `offer` too; else NO_ROOM, and `too_large` is the job.
  absl::StatusOr<std::optional<JobRecord>> Claim(const WorkerOffer& wanted, const WorkerOffer& offer,
                                                 JobRecord& too_large);
  bool KeepsRoomFor(const JobRecord& job);

  const JobPickerParts parts_;
  const v1::SynchronizeRequest& request_;
  Held held_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_JOB_PICKER_H_
