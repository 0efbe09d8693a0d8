// The table of metrics, what is exported at the start, and what can never be.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/metrics/metric_table.h"
#include "server/metrics/service_metrics.h"
#include "tests/testing/http_get.h"

namespace quantd {
namespace {

const std::vector<std::string> kPresets = {"gptq", "rtn"};

// Series of a row by its labels; of histograms the `_count`.
std::map<std::string, double> SeriesOf(const MetricRow& row, const std::map<std::string, double>& all) {
  const std::string name = absl::StrCat(row.name, row.type == MetricType::kHistogram ? "_count" : "");
  std::map<std::string, double> found;
  for (const auto& [series, value] : all) {
    if (series == name || absl::StartsWith(series, name + "{")) found[series] = value;
  }
  return found;
}

size_t CountOf(LabelValues values) {
  return values == LabelValues::kPreset ? kPresets.size() + 1 /* other */ : FixedLabelValues(values).size();
}

TEST(Metrics, EveryKnownLabelSetStartsAtZero) {
  const ServiceMetrics metrics(kPresets);
  const auto all = ParseMetrics(metrics.Text());
  for (const MetricRow& row : MetricTable()) {
    size_t expected = 1;
    for (const MetricLabel& label : row.labels) expected *= CountOf(label.values);
    const auto series = SeriesOf(row, all);
    EXPECT_EQ(series.size(), expected) << row.name;
    const double start = row.metric == Metric::kBuildInfo || row.metric == Metric::kStoreWritable ? 1 : 0;
    for (const auto& [name, value] : series) EXPECT_EQ(value, start) << name;
  }
}

TEST(Metrics, TableFollowsTheConventions) {
  for (const MetricRow& row : MetricTable()) {
    EXPECT_EQ(&row - MetricTable().data(), static_cast<ptrdiff_t>(row.metric)) << row.name << ": order of the enum";
    EXPECT_TRUE(absl::StartsWith(row.name, "quantd_") || absl::StartsWith(row.name, "grpc_server_")) << row.name;
    EXPECT_EQ(absl::EndsWith(row.name, "_total"), row.type == MetricType::kCounter) << row.name;
    EXPECT_TRUE(absl::EndsWith(row.help, ".")) << row.name;
    EXPECT_EQ(!BucketBounds(row.buckets).empty(), row.type == MetricType::kHistogram) << row.name;
    const auto bounds = BucketBounds(row.buckets);
    EXPECT_TRUE(std::is_sorted(bounds.begin(), bounds.end())) << row.name;
  }
}

// Whatever a worker or a user says, the number of series stays as it was at the start.
TEST(Metrics, NoLabelIsUnbounded) {
  ServiceMetrics metrics(kPresets);
  const size_t before = ParseMetrics(metrics.Text()).size();
  v1::QuantJob job;
  job.set_state(v1::QuantJob::FAILED);
  job.mutable_error()->set_reason("SOMETHING_ODD");
  job.mutable_start_time()->set_seconds(1);
  job.mutable_end_time()->set_seconds(2);
  job.mutable_spec()->mutable_recipe()->set_preset("mine\"} 1\n");
  job.mutable_spec()->set_device("quantum");
  v1::QuantReport report;
  (*report.mutable_phase_seconds())["dreaming"] = 3;
  report.mutable_size()->set_compression_ratio(4);
  report.mutable_evaluation();
  report.mutable_speed();
  CountFinishedJob(metrics, job, &report);
  metrics.Increment(Metric::kRpcHandled, {"GetQuantJob", "NO_SUCH_CODE"});
  const auto after = ParseMetrics(metrics.Text());
  EXPECT_EQ(after.at("quantd_jobs_finished_total{outcome=\"failed\",preset=\"other\"}"), 1);
  EXPECT_EQ(after.at("quantd_job_failures_total{reason=\"other\"}"), 1);
  EXPECT_EQ(after.at("quantd_job_run_seconds_count{device=\"other\",preset=\"other\"}"), 1);
  EXPECT_EQ(after.at("quantd_job_phase_seconds_sum{phase=\"other\"}"), 3);
  EXPECT_EQ(after.size(), before);
}

TEST(Metrics, FinishedJobFillsTheAccuracyFigures) {
  ServiceMetrics metrics(kPresets);
  v1::QuantJob job;
  job.set_state(v1::QuantJob::SUCCEEDED);
  job.mutable_spec()->mutable_recipe()->set_preset("gptq");
  v1::QuantReport report;
  report.mutable_evaluation()->set_kl_mean(0.25);
  report.mutable_evaluation()->set_same_top1(0.75);
  report.mutable_speed()->set_decode_tokens_per_second_quantized(12);
  CountFinishedJob(metrics, job, &report);
  const auto all = ParseMetrics(metrics.Text());
  EXPECT_EQ(all.at("quantd_accuracy_loss_sum{metric=\"kl_mean\",preset=\"gptq\"}"), 0.25);
  EXPECT_EQ(all.at("quantd_accuracy_loss_sum{metric=\"top1_drop\",preset=\"gptq\"}"), 0.25);
  EXPECT_EQ(all.at("quantd_accuracy_loss_count{metric=\"ppl_ratio\",preset=\"gptq\"}"), 1);
  EXPECT_EQ(all.at("quantd_generation_tokens_per_second_sum{stage=\"quantized\"}"), 12);
  EXPECT_EQ(all.at("quantd_jobs_finished_total{outcome=\"succeeded\",preset=\"gptq\"}"), 1);
}

}  // namespace
}  // namespace quantd
