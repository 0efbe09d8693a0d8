// Gauges that are read from their source when somebody scrapes.
#ifndef QUANTD_SERVER_DAEMON_SCRAPE_H_
#define QUANTD_SERVER_DAEMON_SCRAPE_H_

#include <string>

#include "server/artifacts/artifact_store.h"
#include "server/metrics/service_metrics.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_store.h"

namespace quantd {

struct ScrapeSources {
  JobStore& store;
  ArtifactStore& artifacts;
  Scheduler& scheduler;
};

// Sets the gauges of jobs, queue, workers and disk, and gives the text of all metrics. A source that fails leaves its
// gauges as they were.
std::string ScrapeMetrics(const ScrapeSources& sources, ServiceMetrics& metrics);

}  // namespace quantd

#endif  // QUANTD_SERVER_DAEMON_SCRAPE_H_
