// Every metric that quantd exports, in one table: the registry, docs/operations.md and their tests read it.
//
// Conventions: prefix quantd_ (grpc_ for calls), base units, closed label sets that begin at 0. A preset that is not in
// the catalogue counts as "other"; job and worker ids are never labels.
#ifndef QUANTD_SERVER_METRICS_METRIC_TABLE_H_
#define QUANTD_SERVER_METRICS_METRIC_TABLE_H_

#include "absl/types/span.h"

namespace quantd {

enum class Metric {
  kBuildInfo,
  kJobsSubmitted,
  kJobs,
  kJobsWaiting,
  kOldestQueued,
  kJobsFinished,
  kJobFailures,
  kJobQueueSeconds,
  kJobRunSeconds,
  kJobPhaseSeconds,
  kJobAttempts,
  kJobEstimateRatio,
  kLeaseExpirations,
  kFenceRejections,
  kSweepLastSuccess,
  kWorkerSlots,
  kWorkerLastHeartbeat,
  kArtifactBytes,
  kDiskFreeBytes,
  kCompressionRatio,
  kAccuracyLoss,
  kGenerationSpeed,
  kStoreCommitSeconds,
  kStoreCommitBatchSize,
  kStoreWritable,
  kRpcHandled,
  kRpcSeconds,
  kWatchStreams,
};

enum class MetricType { kCounter, kGauge, kHistogram };

// The values of a label. kPreset stands for the presets of the catalogue, known only at run time.
enum class LabelValues {
  kPreset,
  kVersion,
  kSubmitOutcome,
  kState,
  kDevice,
  kFinishOutcome,
  kFailureReason,
  kPhase,
  kAttemptResult,
  kSlotState,
  kEstimated,
  kDirection,
  kLossMetric,
  kStage,
  kMethod,
  kCode,
};

struct MetricLabel {
  const char* name;
  LabelValues values;
};

enum class Buckets { kNone, kCallSeconds, kJobSeconds, kRatio, kEstimate, kLoss, kSpeed, kWrites };

struct MetricRow {
  Metric metric;
  const char* name;
  MetricType type;
  const char* help;
  absl::Span<const MetricLabel> labels;
  Buckets buckets;
};

// In the order of enum Metric.
absl::Span<const MetricRow> MetricTable();

// Fixed values of a label set; empty for kPreset. "other", where it is one of them, takes in all that are not.
absl::Span<const char* const> FixedLabelValues(LabelValues values);

absl::Span<const double> BucketBounds(Buckets buckets);

}  // namespace quantd

#endif  // QUANTD_SERVER_METRICS_METRIC_TABLE_H_
