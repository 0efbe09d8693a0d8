#include "server/scheduler/waiting_workers.h"

#include <algorithm>
#include <utility>

namespace quantd {

bool Fits(const JobNeeds& needs, const WorkerOffer& offer) {
  if (!offer.takes_jobs) return false;
  const auto& devices = offer.devices;
  const bool any_device = needs.device.empty() || needs.device == "auto";
  return (any_device || std::find(devices.begin(), devices.end(), needs.device) != devices.end()) &&
         needs.memory_bytes <= offer.memory_bytes && needs.disk_bytes <= offer.disk_bytes;
}

void WaitingWorkers::JobArrived(absl::string_view job, const JobNeeds& needs) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Give({.number = ++hunts_, .job = std::string(job), .needs = needs});
}

void WaitingWorkers::LookAgain() {
  const std::lock_guard<std::mutex> lock(mutex_);
  Give({.number = ++hunts_, .job = "", .needs = {}});
}

void WaitingWorkers::WakeWorker(absl::string_view worker) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (Waiter& waiter : waiters_) {
    if (waiter.worker != worker) continue;
    waiter.called = true;
    waiter.woken.notify_one();
  }
}

void WaitingWorkers::WakeAll() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (Waiter& waiter : waiters_) {
    waiter.called = true;
    waiter.woken.notify_one();
  }
}

void WaitingWorkers::Give(Hunt hunt) {
  for (Waiter& waiter : waiters_) {
    if (waiter.scanned >= hunt.number || waiter.hunt.has_value() || !Fits(hunt.needs, waiter.offer)) continue;
    waiter.hunt = std::move(hunt);
    waiter.woken.notify_one();
    return;
  }
}

WaitingWorkers::Place::Place(WaitingWorkers& workers, absl::string_view worker, WorkerOffer offer) : workers_(workers) {
  const std::lock_guard<std::mutex> lock(workers_.mutex_);
  for (Waiter& waiter : workers_.waiters_) {
    if (waiter.worker != worker) continue;
    waiter.called = true;
    waiter.woken.notify_one();
  }
  self_ = workers_.waiters_.emplace(workers_.waiters_.end());
  self_->worker = std::string(worker);
  self_->offer = std::move(offer);
}

WaitingWorkers::Place::~Place() {
  const std::lock_guard<std::mutex> lock(workers_.mutex_);
  std::optional<Hunt> hunt = std::move(self_->hunt);
  workers_.waiters_.erase(self_);
  if (hunt.has_value()) workers_.Give(*std::move(hunt));
  if (hunt_.has_value()) workers_.Give(*std::move(hunt_));
}

void WaitingWorkers::Place::BeginScan() {
  const std::lock_guard<std::mutex> lock(workers_.mutex_);
  hunt_ = std::exchange(self_->hunt, std::nullopt);
  self_->scanned = workers_.hunts_;
  self_->called = false;
}

void WaitingWorkers::Place::EndScan(const std::vector<std::string>& claimed, WorkerOffer offer) {
  const std::lock_guard<std::mutex> lock(workers_.mutex_);
  self_->offer = std::move(offer);
  std::optional<Hunt> hunt = std::exchange(hunt_, std::nullopt);
  if (!hunt.has_value()) return;
  const bool caught = std::find(claimed.begin(), claimed.end(), hunt->job) != claimed.end();
  if (!caught) workers_.Give(*std::move(hunt));
}

bool WaitingWorkers::Place::Wait(absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(workers_.mutex_);
  const auto has_reason = [&] { return self_->called || self_->hunt.has_value(); };
  return self_->woken.wait_for(lock, absl::ToChronoNanoseconds(timeout), has_reason);
}

}  // namespace quantd
