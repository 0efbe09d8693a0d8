#include "server/scheduler/job_picker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "server/scheduler/transitions.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

// A job that was lost on a worker goes to another one, if there is one that takes it within so many lease periods. A
// worker that keeps room for a job is given up on after as many without a call.
constexpr int kPatienceInLeases = 2;
constexpr char kNoRoom[] = "NO_ROOM";

// What is left of `whole` beside what is in use. Workers that do not say what they have are taken to have enough.
int64_t Left(int64_t whole, int64_t used) {
  return whole <= 0 ? INT64_MAX : std::max<int64_t>(whole - used, 0);
}

}  // namespace

JobNeeds NeedsOf(const v1::QuantJob& job) {
  return {.device = DeviceOf(job.spec()),
          .memory_bytes = job.estimate().peak_memory_bytes(),
          .disk_bytes = job.estimate().disk_bytes()};
}

void JobPicker::Hold(const v1::QuantJob& job) {
  const JobNeeds needs = NeedsOf(job);
  ++held_.jobs;
  held_.memory_bytes += needs.memory_bytes;
  held_.disk_bytes += needs.disk_bytes;
}

absl::StatusOr<std::optional<JobRecord>> JobPicker::Take() {
  const WorkerOffer offer = Offer();
  if (!offer.takes_jobs) return std::nullopt;
  ASSIGN_OR_RETURN(std::optional<JobRecord> taken, TakeFitting(offer));
  if (taken.has_value()) {
    Hold(taken->job);
    parts_.rooms.Release(taken->id);
  }
  return taken;
}

absl::StatusOr<std::optional<JobRecord>> JobPicker::TakeFitting(const WorkerOffer& offer) {
  JobRecord first;
  auto taken = Claim(OfferBeside({.jobs = held_.jobs}), offer, first);
  if (ReasonOf(taken.status()) != kNoRoom) return taken;
  if (KeepsRoomFor(first)) return std::nullopt;
  return Claim(offer, offer, first);
}

bool JobPicker::KeepsRoomFor(const JobRecord& job) {
  const absl::Time now = parts_.store.Now();
  const absl::Duration waited = now - FromTimestamp(job.job.create_time());
  return waited >= parts_.large_job_patience &&
         parts_.rooms.Keeps(request_.worker_id(), job.id, now, kPatienceInLeases * parts_.lease);
}

absl::StatusOr<std::optional<JobRecord>> JobPicker::Claim(const WorkerOffer& wanted, const WorkerOffer& offer,
                                                          JobRecord& too_large) {
  const LeaseHolder holder = {.worker = request_.worker_id(), .incarnation = request_.incarnation()};
  const auto start = [&](JobRecord& record) -> absl::Status {
    if (!Fits(NeedsOf(record.job), offer)) {
      too_large = record;
      return ReasonError(absl::StatusCode::kAborted, kNoRoom, "the job does not fit beside the others");
    }
    RETURN_IF_ERROR(StartAttempt(record, holder, parts_.store.Now(), parts_.lease));
    record.audit = NoteOf(record, absl::StrCat("worker:", holder.worker));
    return absl::OkStatus();
  };
  return parts_.store.Claim(QueryOf(wanted), start);
}

WorkerOffer JobPicker::OfferBeside(const Held& held) const {
  const v1::WorkerCapabilities& has = request_.capabilities();
  return {.takes_jobs = !request_.draining() && !parts_.draining && held.jobs < UsableSlots(),
          .devices = {has.devices().begin(), has.devices().end()},
          .memory_bytes = Left(has.memory_bytes(), held.memory_bytes),
          .disk_bytes = Left(has.scratch_bytes(), held.disk_bytes)};
}

ClaimQuery JobPicker::QueryOf(const WorkerOffer& offer) const {
  const std::string& worker = request_.worker_id();
  const bool has_alternative = parts_.workers.HasAlternative(worker, {.device = "auto"});
  const auto policy = [tenants = parts_.admission.tenants()](absl::string_view tenant) {
    const TenantLimits& limits = tenants->Of(tenant);
    return TenantPolicy{.weight = limits.weight, .max_running = static_cast<int64_t>(limits.max_running)};
  };
  return {.devices = offer.devices,
          .memory_bytes = offer.memory_bytes,
          .disk_bytes = offer.disk_bytes,
          .avoid_worker = has_alternative ? worker : "",
          .avoid_for = kPatienceInLeases * parts_.lease,
          .now = parts_.store.Now(),
          .policy = policy};
}

}  // namespace quantd
