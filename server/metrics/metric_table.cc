#include "server/metrics/metric_table.h"

#include <iterator>

namespace quantd {
namespace {

constexpr MetricLabel kVersionLabel[] = {{"version", LabelValues::kVersion}};
constexpr MetricLabel kPresetAndSubmitOutcome[] = {{"preset", LabelValues::kPreset},
                                                   {"outcome", LabelValues::kSubmitOutcome}};
constexpr MetricLabel kStateLabel[] = {{"state", LabelValues::kState}};
constexpr MetricLabel kDeviceLabel[] = {{"device", LabelValues::kDevice}};
constexpr MetricLabel kPresetAndFinishOutcome[] = {{"preset", LabelValues::kPreset},
                                                   {"outcome", LabelValues::kFinishOutcome}};
constexpr MetricLabel kReasonLabel[] = {{"reason", LabelValues::kFailureReason}};
constexpr MetricLabel kPresetAndDevice[] = {{"preset", LabelValues::kPreset}, {"device", LabelValues::kDevice}};
constexpr MetricLabel kPhaseLabel[] = {{"phase", LabelValues::kPhase}};
constexpr MetricLabel kResultLabel[] = {{"result", LabelValues::kAttemptResult}};
constexpr MetricLabel kSlotStateLabel[] = {{"state", LabelValues::kSlotState}};
constexpr MetricLabel kWhatLabel[] = {{"what", LabelValues::kEstimated}};
constexpr MetricLabel kDirectionLabel[] = {{"direction", LabelValues::kDirection}};
constexpr MetricLabel kPresetLabel[] = {{"preset", LabelValues::kPreset}};
constexpr MetricLabel kLossAndPreset[] = {{"metric", LabelValues::kLossMetric}, {"preset", LabelValues::kPreset}};
constexpr MetricLabel kStageLabel[] = {{"stage", LabelValues::kStage}};
constexpr MetricLabel kMethodAndCode[] = {{"method", LabelValues::kMethod}, {"code", LabelValues::kCode}};
constexpr MetricLabel kMethodLabel[] = {{"method", LabelValues::kMethod}};

constexpr MetricType kCounter = MetricType::kCounter;
constexpr MetricType kGauge = MetricType::kGauge;
constexpr MetricType kHistogram = MetricType::kHistogram;

const MetricRow kTable[] = {
    {Metric::kBuildInfo, "quantd_build_info", kGauge, "Always 1; the version is in the label.", kVersionLabel, {}},
    {Metric::kJobsSubmitted,
     "quantd_jobs_submitted_total",
     kCounter,
     "Answers to SubmitQuantJob.",
     kPresetAndSubmitOutcome,
     {}},
    {Metric::kJobs, "quantd_jobs", kGauge, "Jobs in the store by state.", kStateLabel, {}},
    {Metric::kJobsWaiting, "quantd_jobs_waiting", kGauge, "Queued jobs by the device they ask for.", kDeviceLabel, {}},
    {Metric::kOldestQueued,
     "quantd_oldest_queued_timestamp_seconds",
     kGauge,
     "When the oldest queued job was submitted; 0 while the queue is empty.",
     {},
     {}},
    {Metric::kJobsFinished,
     "quantd_jobs_finished_total",
     kCounter,
     "Jobs that became terminal.",
     kPresetAndFinishOutcome,
     {}},
    {Metric::kJobFailures, "quantd_job_failures_total", kCounter, "Failed jobs by reason.", kReasonLabel, {}},
    {Metric::kJobQueueSeconds, "quantd_job_queue_seconds", kHistogram, "From submission to the first start.",
     kDeviceLabel, Buckets::kJobSeconds},
    {Metric::kJobRunSeconds, "quantd_job_run_seconds", kHistogram, "From the last start to the end of a job.",
     kPresetAndDevice, Buckets::kJobSeconds},
    {Metric::kJobPhaseSeconds, "quantd_job_phase_seconds", kHistogram, "Time a job spent in a phase, from its report.",
     kPhaseLabel, Buckets::kJobSeconds},
    {Metric::kJobAttempts, "quantd_job_attempts_total", kCounter, "Attempts by how they ended.", kResultLabel, {}},
    {Metric::kJobEstimateRatio, "quantd_job_estimate_ratio", kHistogram,
     "What a job took over what was expected of it; below 1: the estimate was careful.", kWhatLabel,
     Buckets::kEstimate},
    {Metric::kLeaseExpirations,
     "quantd_lease_expirations_total",
     kCounter,
     "Leases that were not renewed in time.",
     {},
     {}},
    {Metric::kFenceRejections,
     "quantd_fence_rejections_total",
     kCounter,
     "Progress, uploads and results refused because the lease had passed to somebody else.",
     {},
     {}},
    {Metric::kSweepLastSuccess,
     "quantd_sweep_last_success_timestamp_seconds",
     kGauge,
     "When expired leases were last looked for without an error.",
     {},
     {}},
    {Metric::kWorkerSlots, "quantd_worker_slots", kGauge, "Slots of the connected workers.", kSlotStateLabel, {}},
    {Metric::kWorkerLastHeartbeat,
     "quantd_worker_last_heartbeat_timestamp_seconds",
     kGauge,
     "Oldest last call of the connected workers; 0 without any.",
     {},
     {}},
    {Metric::kArtifactBytes,
     "quantd_artifact_bytes_total",
     kCounter,
     "Artifact bytes received and sent.",
     kDirectionLabel,
     {}},
    {Metric::kDiskFreeBytes, "quantd_disk_free_bytes", kGauge, "Free space on the disk of the data directory.", {}, {}},
    {Metric::kCompressionRatio, "quantd_artifact_compression_ratio", kHistogram,
     "Original tensor bytes over quantized ones.", kPresetLabel, Buckets::kRatio},
    {Metric::kAccuracyLoss, "quantd_accuracy_loss", kHistogram,
     "What results lost: ppl_ratio is perplexity over the original's minus 1, kl_mean in nats, top1_drop 1 - "
     "same_top1.",
     kLossAndPreset, Buckets::kLoss},
    {Metric::kGenerationSpeed, "quantd_generation_tokens_per_second", kHistogram, "Decoding speed, from reports.",
     kStageLabel, Buckets::kSpeed},
    {Metric::kStoreCommitSeconds,
     "quantd_store_commit_seconds",
     kHistogram,
     "Time of a commit of the job store.",
     {},
     Buckets::kCallSeconds},
    {Metric::kStoreCommitBatchSize,
     "quantd_store_commit_batch_size",
     kHistogram,
     "Writes that shared a commit of the job store.",
     {},
     Buckets::kWrites},
    {Metric::kStoreWritable, "quantd_store_writable", kGauge, "0 after a write failed: restart quantd.", {}, {}},
    {Metric::kRpcHandled, "grpc_server_handled_total", kCounter, "Calls answered.", kMethodAndCode, {}},
    {Metric::kRpcSeconds, "grpc_server_handling_seconds", kHistogram,
     "Time to answer a call; long polls and streams include their waiting.", kMethodLabel, Buckets::kCallSeconds},
    {Metric::kWatchStreams, "quantd_watch_streams", kGauge, "Open WatchQuantJob streams.", {}, {}},
};

constexpr const char* kVersions[] = {QUANTD_VERSION};
constexpr const char* kSubmitOutcomes[] = {"accepted", "duplicate", "invalid", "quota", "unavailable"};
constexpr const char* kStates[] = {"queued", "running", "cancelling", "succeeded", "rejected", "failed", "cancelled"};
constexpr const char* kDevices[] = {"auto", "cpu", "cuda", "other"};
constexpr const char* kFinishOutcomes[] = {"succeeded", "rejected", "failed", "cancelled"};
// Those that tell an operator what to look at; all others count as "other".
constexpr const char* kFailureReasons[] = {
    "CHILD_CRASHED",
    "CHILD_KILLED",
    "CHILD_NOT_STARTED",
    "WORKER_LOST",
    "MEMORY_BUDGET_EXCEEDED",
    "QUEUE_DEADLINE",
    "UNSCHEDULABLE",
    "RUN_DEADLINE",
    "MEMORY_EXHAUSTED",
    "DISK_BUDGET_EXCEEDED",
    "DISK_FULL",
    "ARTIFACT_INCOMPLETE",
    "other",
};
constexpr const char* kPhases[] = {"plan", "calibrate", "quantize", "pack", "evaluate", "publish", "other"};
constexpr const char* kAttemptResults[] = {"finished", "failed", "crashed", "expired", "returned", "cancelled"};
constexpr const char* kSlotStates[] = {"idle", "busy", "draining", "quarantined"};
constexpr const char* kEstimated[] = {"memory", "disk", "time"};
constexpr const char* kDirections[] = {"received", "sent"};
constexpr const char* kLossMetrics[] = {"ppl_ratio", "kl_mean", "top1_drop"};
constexpr const char* kStages[] = {"original", "quantized"};
constexpr const char* kMethods[] = {
    "SubmitQuantJob",         "GetQuantJob",        "ListQuantJobs",  "CancelQuantJob",  "DeleteQuantJob",
    "UndeleteQuantJob",       "ListAuditRecords",   "WatchQuantJob",  "GetQuantReport",  "ListRecipes",
    "DownloadArtifact",       "Synchronize",        "UploadArtifact", "GetUploadOffset", "CommitCheckpoint",
    "CheckpointFilesMissing", "DownloadCheckpoint",
};
constexpr const char* kCodes[] = {
    "OK",        "CANCELLED",    "UNKNOWN",        "INVALID_ARGUMENT",  "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ABORTED",   "OUT_OF_RANGE", "UNIMPLEMENTED",  "INTERNAL",          "UNAVAILABLE",       "FAILED_PRECONDITION",
    "DATA_LOSS", "OTHER",        "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED",   "RESOURCE_EXHAUSTED",
};

struct FixedValues {
  LabelValues values;
  absl::Span<const char* const> names;
};
constexpr FixedValues kFixedValues[] = {
    {LabelValues::kPreset, {}},
    {LabelValues::kVersion, kVersions},
    {LabelValues::kSubmitOutcome, kSubmitOutcomes},
    {LabelValues::kState, kStates},
    {LabelValues::kDevice, kDevices},
    {LabelValues::kFinishOutcome, kFinishOutcomes},
    {LabelValues::kFailureReason, kFailureReasons},
    {LabelValues::kPhase, kPhases},
    {LabelValues::kAttemptResult, kAttemptResults},
    {LabelValues::kSlotState, kSlotStates},
    {LabelValues::kEstimated, kEstimated},
    {LabelValues::kDirection, kDirections},
    {LabelValues::kLossMetric, kLossMetrics},
    {LabelValues::kStage, kStages},
    {LabelValues::kMethod, kMethods},
    {LabelValues::kCode, kCodes},
};

constexpr double kCallSeconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
constexpr double kJobSeconds[] = {1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600};
constexpr double kRatios[] = {1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 12, 16};
constexpr double kEstimates[] = {0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 4, 10};
constexpr double kLosses[] = {0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10};
constexpr double kWrites[] = {1, 2, 4, 8, 16, 32, 64, 128};
constexpr double kSpeeds[] = {1, 3, 10, 30, 100, 300, 1000, 3000};

}  // namespace

absl::Span<const MetricRow> MetricTable() {
  return kTable;
}

absl::Span<const char* const> FixedLabelValues(LabelValues values) {
  return kFixedValues[static_cast<size_t>(values)].names;
}

absl::Span<const double> BucketBounds(Buckets buckets) {
  switch (buckets) {
    case Buckets::kCallSeconds:
      return kCallSeconds;
    case Buckets::kJobSeconds:
      return kJobSeconds;
    case Buckets::kRatio:
      return kRatios;
    case Buckets::kEstimate:
      return kEstimates;
    case Buckets::kLoss:
      return kLosses;
    case Buckets::kSpeed:
      return kSpeeds;
    case Buckets::kWrites:
      return kWrites;
    case Buckets::kNone:
      return {};
  }
  return {};
}

}  // namespace quantd
