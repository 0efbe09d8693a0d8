#include <cmath>

#include "absl/strings/ascii.h"
#include "server/metrics/service_metrics.h"

namespace quantd {
namespace {

double Seconds(const google::protobuf::Timestamp& from, const google::protobuf::Timestamp& to) {
  return static_cast<double>(to.seconds() - from.seconds()) + 1e-9 * (to.nanos() - from.nanos());
}

void CountReport(ServiceMetrics& metrics, const std::string& preset, const v1::QuantReport& report) {
  if (report.size().compression_ratio() > 0) {
    metrics.Observe(Metric::kCompressionRatio, report.size().compression_ratio(), {preset});
  }
  for (const auto& [phase, seconds] : report.phase_seconds()) {
    metrics.Observe(Metric::kJobPhaseSeconds, seconds, {phase});
  }
  if (report.has_evaluation()) {
    const v1::EvaluationReport& evaluation = report.evaluation();
    metrics.Observe(Metric::kAccuracyLoss, std::expm1(evaluation.log_perplexity_ratio()), {"ppl_ratio", preset});
    metrics.Observe(Metric::kAccuracyLoss, evaluation.kl_mean(), {"kl_mean", preset});
    metrics.Observe(Metric::kAccuracyLoss, 1 - evaluation.same_top1(), {"top1_drop", preset});
  }
  if (report.has_speed()) {
    metrics.Observe(Metric::kGenerationSpeed, report.speed().decode_tokens_per_second_original(), {"original"});
    metrics.Observe(Metric::kGenerationSpeed, report.speed().decode_tokens_per_second_quantized(), {"quantized"});
  }
}

}  // namespace

void CountFinishedJob(ServiceMetrics& metrics, const v1::QuantJob& job, const v1::QuantReport* report) {
  const std::string& preset = job.spec().recipe().preset();
  const std::string device = job.spec().device().empty() ? "auto" : job.spec().device();
  metrics.Increment(Metric::kJobsFinished, {preset, absl::AsciiStrToLower(v1::QuantJob::State_Name(job.state()))});
  if (job.state() == v1::QuantJob::FAILED) metrics.Increment(Metric::kJobFailures, {job.error().reason()});
  if (job.has_start_time()) {
    metrics.Observe(Metric::kJobRunSeconds, Seconds(job.start_time(), job.end_time()), {preset, device});
  }
  if (report != nullptr) CountReport(metrics, preset, *report);
}

}  // namespace quantd
