#include "server/daemon/scrape.h"

#include "absl/strings/ascii.h"

namespace quantd {
namespace {

// 0 stands for "there is none".
double UnixSecondsOrZero(absl::Time time) {
  return time == absl::InfiniteFuture() ? 0 : absl::ToDoubleSeconds(time - absl::UnixEpoch());
}

void SetJobs(JobStore& store, ServiceMetrics& metrics) {
  const auto counts = store.CountByState();
  if (!counts.ok()) return;
  for (const char* state : FixedLabelValues(LabelValues::kState)) {
    JobState value;
    if (!v1::QuantJob::State_Parse(absl::AsciiStrToUpper(state), &value)) continue;
    const auto found = counts->find(value);
    metrics.Set(Metric::kJobs, found == counts->end() ? 0 : static_cast<double>(found->second), {state});
  }
}

void SetQueue(JobStore& store, ServiceMetrics& metrics) {
  const auto queue = store.SummarizeQueue();
  if (!queue.ok()) return;
  for (const char* device : FixedLabelValues(LabelValues::kDevice)) {
    const auto found = queue->waiting_by_device.find(device);
    const bool waiting = found != queue->waiting_by_device.end();
    metrics.Set(Metric::kJobsWaiting, waiting ? static_cast<double>(found->second) : 0, {device});
  }
  metrics.Set(Metric::kOldestQueued, UnixSecondsOrZero(queue->oldest_create_time));
}

void SetWorkers(Scheduler& scheduler, ServiceMetrics& metrics) {
  const WorkerSummary workers = scheduler.workers().Summarize();
  metrics.Set(Metric::kWorkerSlots, static_cast<double>(workers.idle_slots), {"idle"});
  metrics.Set(Metric::kWorkerSlots, static_cast<double>(workers.busy_slots), {"busy"});
  metrics.Set(Metric::kWorkerSlots, static_cast<double>(workers.draining_slots), {"draining"});
  metrics.Set(Metric::kWorkerSlots, static_cast<double>(workers.quarantined_slots), {"quarantined"});
  metrics.Set(Metric::kWorkerLastHeartbeat, UnixSecondsOrZero(workers.oldest_heartbeat));
}

}  // namespace

std::string ScrapeMetrics(const ScrapeSources& sources, ServiceMetrics& metrics) {
  SetJobs(sources.store, metrics);
  SetQueue(sources.store, metrics);
  SetWorkers(sources.scheduler, metrics);
  metrics.Set(Metric::kStoreWritable, sources.store.writable() ? 1 : 0);
  const auto free_bytes = sources.artifacts.FreeBytes();
  if (free_bytes.ok()) metrics.Set(Metric::kDiskFreeBytes, static_cast<double>(*free_bytes));
  return metrics.Text();
}

}  // namespace quantd
