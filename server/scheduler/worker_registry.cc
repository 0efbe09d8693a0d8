#include "server/scheduler/worker_registry.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr size_t kRememberedIncarnations = 8;
constexpr absl::Duration kForgetAfter = absl::Hours(24);
// Whoever reaches the port may introduce workers: beyond this many, those not heard of for longest are forgotten. A
// worker that is forgotten wrongly introduces itself anew with its next call.
constexpr size_t kRememberedWorkers = 4096;

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
  worker.devices = {request.capabilities().devices().begin(), request.capabilities().devices().end()};
  worker.slots = request.slots();
  worker.busy = request.running_size();
  worker.draining = request.draining();
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

WorkerSummary WorkerRegistry::Summarize() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = clock_.Now();
  WorkerSummary summary;
  for (const auto& [id, worker] : workers_) {
    if (!IsConnected(worker, now)) continue;
    ++summary.connected;
    const int busy = std::min(worker.busy, worker.slots);
    summary.busy_slots += busy;
    (worker.draining ? summary.draining_slots : summary.idle_slots) += worker.slots - busy;
    if (!worker.draining) summary.devices.insert(summary.devices.end(), worker.devices.begin(), worker.devices.end());
    summary.oldest_heartbeat = std::min(summary.oldest_heartbeat, worker.last_seen);
  }
  std::sort(summary.devices.begin(), summary.devices.end());
  summary.devices.erase(std::unique(summary.devices.begin(), summary.devices.end()), summary.devices.end());
  return summary;
}

bool WorkerRegistry::IsConnected(const Worker& worker, absl::Time now) const {
  return worker.calls_inside > 0 || worker.last_seen + connected_for_ > now;
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
