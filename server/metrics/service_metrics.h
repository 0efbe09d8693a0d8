// The metrics of the service, counted where things happen. See metric_table.h for names and labels.
//
// Thread-safe. Label values outside their closed set count as "other".
#ifndef QUANTD_SERVER_METRICS_SERVICE_METRICS_H_
#define QUANTD_SERVER_METRICS_SERVICE_METRICS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "quantd/v1/quant_job.pb.h"
#include "server/metrics/metric_table.h"

namespace quantd {

class ServiceMetrics {
 public:
  // `presets`: the names of the catalogue.
  explicit ServiceMetrics(std::vector<std::string> presets);
  ~ServiceMetrics();

  // One value a label of the metric, in the table's order. The metric must have the type that the name says.
  void Increment(Metric metric, const std::vector<std::string>& labels = {}, double by = 1);
  void Set(Metric metric, double value, const std::vector<std::string>& labels = {});
  void Add(Metric metric, double value, const std::vector<std::string>& labels = {});
  void Observe(Metric metric, double value, const std::vector<std::string>& labels = {});

  // All metrics in the Prometheus text format.
  std::string Text() const;

 private:
  class Families;
  const std::unique_ptr<Families> families_;
};

// Figures of a job that has become terminal. `report` may be null.
void CountFinishedJob(ServiceMetrics& metrics, const v1::QuantJob& job, const v1::QuantReport* report);

}  // namespace quantd

#endif  // QUANTD_SERVER_METRICS_SERVICE_METRICS_H_
