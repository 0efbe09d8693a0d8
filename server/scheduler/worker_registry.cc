#include "server/scheduler/worker_registry.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "server/errors/text_limits.h"

namespace quantd {
namespace {

constexpr size_t kRememberedIncarnations = 8;
constexpr absl::Duration kForgetAfter = absl::Hours(24);
// Whoever reaches the port may introduce workers: beyond this many, those not heard of for longest are forgotten. A
// worker that is forgotten wrongly introduces itself anew with its next call.
constexpr size_t kRememberedWorkers = 4096;
constexpr size_t kMostOfUnfit = 512;  // bytes of what a worker says
constexpr size_t kShownReasons = 3;   // of as many workers, why they take no jobs

// Workers that do not say what they have are taken to have enough.
int64_t OrPlenty(int64_t bytes) {
  return bytes > 0 ? bytes : INT64_MAX;
}

WorkerOffer WholeOffer(const v1::SynchronizeRequest& request) {
  const v1::WorkerCapabilities& has = request.capabilities();
  return {.takes_jobs = true,
          .devices = {has.devices().begin(), has.devices().end()},
          .memory_bytes = OrPlenty(has.memory_bytes()),
          .disk_bytes = OrPlenty(has.scratch_bytes())};
}

}  // namespace

absl::StatusOr<WorkerRegistry::Arrival> WorkerRegistry::Enter(const v1::SynchronizeRequest& request) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = clock_.Now();
  if (workers_.count(request.worker_id()) == 0) MakeRoom(now);
  Worker& worker = workers_[request.worker_id()];
  const auto& replaced = worker.replaced;
  if (std::find(replaced.begin(), replaced.end(), request.incarnation()) != replaced.end()) {
    return ReasonError(absl::StatusCode::kAborted, "WORKER_REPLACED",
                       absl::StrFormat("another process has taken over worker id '%s'; give each worker its own "
                                       "--worker-id",
                                       request.worker_id()));
  }
  Arrival arrival{.call = ++worker.calls, .new_incarnation = worker.incarnation != request.incarnation()};
  if (arrival.new_incarnation && !worker.incarnation.empty()) {
    worker.replaced.push_back(worker.incarnation);
    if (worker.replaced.size() > kRememberedIncarnations) worker.replaced.pop_front();
  }
  worker.incarnation = request.incarnation();
  const int64_t disk_before = worker.whole.disk_bytes;
  worker.whole = WholeOffer(request);
  // What it says is free now; while jobs run, a part of what the worker has is in use.
  const bool idle = request.running_size() == 0;
  if (!idle && disk_before != INT64_MAX) worker.whole.disk_bytes = std::max(worker.whole.disk_bytes, disk_before);
  worker.slots = request.slots();
  worker.busy = request.running_size();
  worker.draining = request.draining();
  worker.unfit = KeepBeginning(request.unfit(), kMostOfUnfit);
  worker.last_seen = now;
  ++worker.calls_inside;
  return arrival;
}

void WorkerRegistry::Leave(const std::string& worker_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = workers_.find(worker_id);
  if (found == workers_.end()) return;
  --found->second.calls_inside;
  found->second.last_seen = clock_.Now();
}

bool WorkerRegistry::IsNewest(const std::string& worker_id, int64_t call) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = workers_.find(worker_id);
  return found != workers_.end() && found->second.calls == call;
}

bool WorkerRegistry::RecordCrash(const std::string& worker_id, const std::string& job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = workers_.find(worker_id);
  if (found == workers_.end()) return false;
  Worker& worker = found->second;
  if (worker.crashed_jobs.size() < kCrashesToQuarantine) worker.crashed_jobs.insert(job);
  if (worker.crashed_jobs.size() < kCrashesToQuarantine) return false;
  const int times = std::min(1 << std::min(worker.quarantines, 30), kLongestQuarantine);
  worker.quarantined_until = clock_.Now() + times * options_.first_quarantine;
  ++worker.quarantines;
  return true;
}

void WorkerRegistry::RecordSuccess(const std::string& worker_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = workers_.find(worker_id);
  if (found == workers_.end()) return;
  found->second.crashed_jobs.clear();
  found->second.quarantines = 0;
  found->second.quarantined_until = absl::InfinitePast();
}

int WorkerRegistry::UsableSlots(const std::string& worker_id) const {
  const absl::Time now = clock_.Now();
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = workers_.find(worker_id);
  if (found == workers_.end() || found->second.quarantined_until > now) return 0;
  const bool on_trial = found->second.crashed_jobs.size() >= kCrashesToQuarantine;
  return on_trial ? std::min(found->second.slots, 1) : found->second.slots;
}

bool WorkerRegistry::HasAlternative(const std::string& worker_id, const JobNeeds& needs) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = clock_.Now();
  for (const auto& [id, worker] : workers_) {
    const bool usable = id != worker_id && IsConnected(worker, now) && !worker.draining && worker.slots > 0 &&
                        worker.quarantined_until <= now;
    if (usable && Fits(needs, worker.whole)) return true;
  }
  return false;
}

std::string WorkerRegistry::Obstacle(const JobNeeds& needs) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::vector<const Worker*> connected = Connected();
  if (connected.empty()) return "no worker is connected";
  int64_t most_memory = -1;
  int64_t most_disk = -1;
  for (const Worker* worker : connected) {
    if (Fits(needs, worker->whole)) return "";
    if (!Fits({.device = needs.device}, worker->whole)) continue;
    most_memory = std::max(most_memory, worker->whole.memory_bytes);
    most_disk = std::max(most_disk, worker->whole.disk_bytes);
  }
  if (most_memory < 0) return absl::StrCat("no registered worker has device ", needs.device);
  const bool lacks_memory = needs.memory_bytes > most_memory;
  if (!lacks_memory && needs.disk_bytes <= most_disk) {
    return absl::StrFormat("the job needs %d bytes of memory and %d bytes of disk, no registered worker has both",
                           needs.memory_bytes, needs.disk_bytes);
  }
  return absl::StrFormat("the job needs %d bytes of %s, the largest registered worker has %d",
                         lacks_memory ? needs.memory_bytes : needs.disk_bytes, lacks_memory ? "memory" : "disk",
                         lacks_memory ? most_memory : most_disk);
}

std::string WorkerRegistry::Reluctance(const JobNeeds& needs) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = clock_.Now();
  std::vector<std::string> reasons;
  for (const auto& [id, worker] : workers_) {
    if (!IsConnected(worker, now) || !Fits(needs, worker.whole)) continue;
    const std::string why = worker.draining                  ? "it is draining"
                            : worker.quarantined_until > now ? "quarantined, since its children died on several jobs"
                                                             : worker.unfit;
    if (why.empty()) return "";
    reasons.push_back(absl::StrFormat("worker %s: %s", id, why));
  }
  if (reasons.empty()) return "";
  const size_t more = reasons.size() - std::min(reasons.size(), kShownReasons);
  reasons.resize(reasons.size() - more);
  if (more > 0) reasons.push_back(absl::StrFormat("and %d more", more));
  return absl::StrCat("no worker takes jobs for now; ", absl::StrJoin(reasons, "; "));
}

WorkerSummary WorkerRegistry::Summarize() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = clock_.Now();
  WorkerSummary summary;
  for (const auto& [id, worker] : workers_) {
    if (!IsConnected(worker, now)) continue;
    ++summary.connected;
    const int busy = std::min(worker.busy, worker.slots);
    summary.busy_slots += busy;
    const bool quarantined = worker.quarantined_until > now;
    int64_t& rest = worker.draining ? summary.draining_slots
                    : quarantined   ? summary.quarantined_slots
                                    : summary.idle_slots;
    rest += worker.slots - busy;
    const auto& devices = worker.whole.devices;
    if (!worker.draining) summary.devices.insert(summary.devices.end(), devices.begin(), devices.end());
    summary.oldest_heartbeat = std::min(summary.oldest_heartbeat, worker.last_seen);
  }
  std::sort(summary.devices.begin(), summary.devices.end());
  summary.devices.erase(std::unique(summary.devices.begin(), summary.devices.end()), summary.devices.end());
  return summary;
}

bool WorkerRegistry::IsConnected(const Worker& worker, absl::Time now) const {
  return worker.calls_inside > 0 || worker.last_seen + options_.connected_for > now;
}

std::vector<const WorkerRegistry::Worker*> WorkerRegistry::Connected() const {
  const absl::Time now = clock_.Now();
  std::vector<const Worker*> connected;
  for (const auto& [id, worker] : workers_) {
    if (IsConnected(worker, now)) connected.push_back(&worker);
  }
  return connected;
}

void WorkerRegistry::MakeRoom(absl::Time now) {
  for (auto it = workers_.begin(); it != workers_.end();) {
    const bool gone = it->second.calls_inside == 0 && it->second.last_seen + kForgetAfter < now;
    it = gone ? workers_.erase(it) : std::next(it);
  }
  while (workers_.size() >= kRememberedWorkers && ForgetOne()) {
  }
}

bool WorkerRegistry::ForgetOne() {
  auto longest = workers_.end();
  for (auto it = workers_.begin(); it != workers_.end(); ++it) {
    const bool silent = it->second.calls_inside == 0;
    if (silent && (longest == workers_.end() || it->second.last_seen < longest->second.last_seen)) longest = it;
  }
  if (longest == workers_.end()) return false;
  workers_.erase(longest);
  return true;
}

}  // namespace quantd
