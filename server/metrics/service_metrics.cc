#include "server/metrics/service_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <utility>

namespace quantd {

class ServiceMetrics::Families {
 public:
  explicit Families(std::vector<std::string> presets) : presets_(std::move(presets)) {
    if (std::find(presets_.begin(), presets_.end(), "other") == presets_.end()) presets_.push_back("other");
    for (const MetricRow& row : MetricTable()) {
      families_.push_back(MakeFamily(row));
      CreateAll(row, {});
    }
  }

  prometheus::Counter& Counter(Metric metric, const std::vector<std::string>& values) {
    return Of(metric).counter->Add(LabelsOf(RowOf(metric), values));
  }
  prometheus::Gauge& Gauge(Metric metric, const std::vector<std::string>& values) {
    return Of(metric).gauge->Add(LabelsOf(RowOf(metric), values));
  }
  prometheus::Histogram& Histogram(Metric metric, const std::vector<std::string>& values) {
    return Of(metric).histogram->Add(LabelsOf(RowOf(metric), values), BoundsOf(RowOf(metric)));
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

 private:
  // The one that fits the metric's type is set; the registry owns them.
  struct Family {
    prometheus::Family<prometheus::Counter>* counter = nullptr;
    prometheus::Family<prometheus::Gauge>* gauge = nullptr;
    prometheus::Family<prometheus::Histogram>* histogram = nullptr;
  };

  static const MetricRow& RowOf(Metric metric) { return MetricTable()[static_cast<size_t>(metric)]; }
  Family& Of(Metric metric) { return families_[static_cast<size_t>(metric)]; }

  Family MakeFamily(const MetricRow& row) {
    Family family;
    switch (row.type) {
      case MetricType::kCounter:
        family.counter = &prometheus::BuildCounter().Name(row.name).Help(row.help).Register(registry_);
        break;
      case MetricType::kGauge:
        family.gauge = &prometheus::BuildGauge().Name(row.name).Help(row.help).Register(registry_);
        break;
      case MetricType::kHistogram:
        family.histogram = &prometheus::BuildHistogram().Name(row.name).Help(row.help).Register(registry_);
        break;
    }
    return family;
  }

  static prometheus::Histogram::BucketBoundaries BoundsOf(const MetricRow& row) {
    const absl::Span<const double> bounds = BucketBounds(row.buckets);
    return {bounds.begin(), bounds.end()};
  }

  std::vector<std::string> ValuesOf(LabelValues values) const {
    if (values == LabelValues::kPreset) return presets_;
    const auto names = FixedLabelValues(values);
    return {names.begin(), names.end()};
  }

  // `value` if it belongs to the label's closed set, else "other" in the spelling of that set.
  std::string Closed(LabelValues values, const std::string& value) const {
    const std::vector<std::string> all = ValuesOf(values);
    if (std::find(all.begin(), all.end(), value) != all.end()) return value;
    return values == LabelValues::kCode ? "OTHER" : "other";
  }

  prometheus::Labels LabelsOf(const MetricRow& row, const std::vector<std::string>& values) const {
    prometheus::Labels labels;
    for (size_t i = 0; i < row.labels.size(); ++i) {
      labels[row.labels[i].name] = Closed(row.labels[i].values, i < values.size() ? values[i] : "other");
    }
    return labels;
  }

  // Every combination of label values, so that each series exists, at 0, from the start.
  void CreateAll(const MetricRow& row, std::vector<std::string> values) {
    if (values.size() < row.labels.size()) {
      for (const std::string& value : ValuesOf(row.labels[values.size()].values)) {
        values.push_back(value);
        CreateAll(row, values);
        values.pop_back();
      }
      return;
    }
    if (row.type == MetricType::kCounter) Counter(row.metric, values);
    if (row.type == MetricType::kGauge) Gauge(row.metric, values);
    if (row.type == MetricType::kHistogram) Histogram(row.metric, values);
  }

  std::vector<std::string> presets_;
  prometheus::Registry registry_;
  std::vector<Family> families_;
};

ServiceMetrics::ServiceMetrics(std::vector<std::string> presets)
    : families_(std::make_unique<Families>(std::move(presets))) {
  Set(Metric::kBuildInfo, 1, {QUANTD_VERSION});
  Set(Metric::kStoreWritable, 1);
}

ServiceMetrics::~ServiceMetrics() = default;

void ServiceMetrics::Increment(Metric metric, const std::vector<std::string>& labels, double by) {
  families_->Counter(metric, labels).Increment(by);
}
void ServiceMetrics::Set(Metric metric, double value, const std::vector<std::string>& labels) {
  families_->Gauge(metric, labels).Set(value);
}
void ServiceMetrics::Add(Metric metric, double value, const std::vector<std::string>& labels) {
  families_->Gauge(metric, labels).Increment(value);
}
void ServiceMetrics::Observe(Metric metric, double value, const std::vector<std::string>& labels) {
  families_->Histogram(metric, labels).Observe(value);
}
std::string ServiceMetrics::Text() const {
  return families_->Text();
}

}  // namespace quantd
