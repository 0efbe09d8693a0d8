// The files of one job on the worker: a private scratch folder, the job file the child reads, the artifact it leaves.
//
//   SCRATCH/job.json     the spec in its JSON form (snake_case names)
//   SCRATCH/artifact/    written by the child: manifest.json, report.json, tensors, exports/...
//   SCRATCH/checkpoint/  where the child continues from and what it commits (docs/formats/checkpoint.md)
//   SCRATCH/checkpoint-N/  links of a checkpoint that is being uploaded
#ifndef QUANTD_WORKER_AGENT_JOB_FILES_H_
#define QUANTD_WORKER_AGENT_JOB_FILES_H_

#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/file_system.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

// A folder name for a job and fence, the same for the same pair and different for different ones: the last part of the
// resource name in harmless characters, plus a digest of the whole.
std::string ScratchName(absl::string_view job, int64_t fence);

// Paths below the scratch folder.
std::string JobFilePath(const std::string& scratch);
std::string ArtifactPath(const std::string& scratch);
std::string CheckpointPath(const std::string& scratch);

// Creates the scratch folder, readable by its owner alone, and job.json in it. RESOURCE_EXHAUSTED DISK_FULL when the
// disk has not the free bytes that the job's estimate says it needs; nothing is made then.
absl::Status PrepareScratch(FileSystem& files, const std::string& scratch, const v1::Assignment& assignment);

// What the files below a folder occupy on the disk, those with several links once. Files that vanish meanwhile count 0.
int64_t FolderBytes(const std::string& folder);

// Every regular file below `folder` with its size and SHA-256, sorted by path but manifest.json last (whoever sees it
// sees the others), and the artifact's digest, which is that of manifest.json. ARTIFACT_MALFORMED: no manifest.json, a
// link or other special file, more than 100,000 files. CANCELLED soon after `stop` was requested.
absl::StatusOr<v1::Artifact> DescribeArtifact(const std::string& folder, const std::stop_token& stop);

// report.json merged with performance.json (timings, which are kept apart so that report.json is reproducible) when
// that is there. Unknown fields are ignored. REPORT_MALFORMED.
absl::StatusOr<v1::QuantReport> ReadReport(FileSystem& files, const std::string& folder);

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_JOB_FILES_H_
