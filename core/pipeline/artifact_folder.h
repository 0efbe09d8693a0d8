// The unfinished artifact folder as a whole: what is in it, and how it appears under its name.
#ifndef QUANTD_CORE_PIPELINE_ARTIFACT_FOLDER_H_
#define QUANTD_CORE_PIPELINE_ARTIFACT_FOLDER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file_system.h"
#include "core/formats/manifest.h"

namespace quantd {

inline constexpr char kReportFile[] = "report.json";
inline constexpr char kPerformanceFile[] = "performance.json";
inline constexpr char kHtmlFile[] = "report.html";

// Every file below the folder with its digest, sorted, apart from the manifest and from those that hold measurements.
absl::StatusOr<std::vector<ManifestFile>> DigestedFiles(FileSystem& files, const std::string& folder);

// Bytes of every file below the folder.
absl::StatusOr<int64_t> FolderBytes(FileSystem& files, const std::string& folder);

// Renames `folder`, whole and durable, to `out`; an `out` that is there is replaced when `overwrite`.
absl::Status PublishFolder(FileSystem& files, const std::string& folder, const std::string& out, bool overwrite);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_ARTIFACT_FOLDER_H_
