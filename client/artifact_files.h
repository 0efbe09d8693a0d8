// Which files make up an artifact, checked before any byte is fetched: the answer of a server is no more trusted than a
// file.
#ifndef QUANTD_CLIENT_ARTIFACT_FILES_H_
#define QUANTD_CLIENT_ARTIFACT_FILES_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quantd/v1/quant_job.pb.h"

namespace quantd {

inline constexpr absl::string_view kManifestPath = "manifest.json";
// Size of a manifest that the job does not list among the files: its digest is the artifact's, its size comes with it.
inline constexpr int64_t kSizeUnknown = -1;

// The files of the job's artifact, manifest.json last with the artifact's digest.
// FAILED_PRECONDITION JOB_NOT_FINISHED: the job has no artifact. DATA_LOSS ARTIFACT_PATH_INVALID (a path that would
// leave the folder, or comes twice), ARTIFACT_LIST_INVALID (a digest or size that cannot be).
absl::StatusOr<std::vector<v1::ArtifactFile>> FilesToDownload(const v1::QuantJob& job);

// Every file that the manifest names, and so the artifact's digest pins, is among `files` with the same digest. Files
// that it does not name are measurements (report.html, performance.json): they differ from run to run and are pinned by
// the job alone. DATA_LOSS MANIFEST_DISAGREES.
absl::Status CheckAgainstManifest(absl::string_view manifest_json, const std::vector<v1::ArtifactFile>& files);

}  // namespace quantd

#endif  // QUANTD_CLIENT_ARTIFACT_FILES_H_
