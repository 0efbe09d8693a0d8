// The files that a job database names, wherever they are kept. Paths are relative to the folder or prefix of the store.
#ifndef QUANTD_SERVER_FSCK_CHECKED_FILES_H_
#define QUANTD_SERVER_FSCK_CHECKED_FILES_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/file_system.h"
#include "core/objects/s3_client.h"
#include "quantd/v1/quant_job.pb.h"

namespace quantd {

struct FoundFile {
  std::string path;
  absl::Duration age;  // since it was written, the last time
};

// What is wrong with a file.
struct FileProblem {
  bool missing = false;
  std::string detail;
};

// Thread-safe.
class CheckedFiles {
 public:
  virtual ~CheckedFiles() = default;

  // Where published files lie: "artifacts/sha256"; checkpoints and uploads are in "checkpoints" and "staging".
  virtual absl::string_view published_area() const = 0;

  // Presence, size and, with `digest`, SHA-256. Nothing: all as the message says. An error: it cannot be told now.
  virtual absl::StatusOr<std::optional<FileProblem>> Examine(const std::string& path, const v1::ArtifactFile& expected,
                                                             bool digest) = 0;

  // Everything two levels below `area`, be it a file or a folder: "artifacts/sha256/ab/abcd...". An absent area is
  // empty.
  virtual absl::StatusOr<std::vector<FoundFile>> TwoLevels(absl::string_view area) = 0;

  // Moves it to "quarantine".
  virtual absl::Status Quarantine(const std::string& path) = 0;
  // The file, or all that is below the folder.
  virtual absl::Status Remove(const std::string& path) = 0;
};

std::unique_ptr<CheckedFiles> CheckedFolder(FileSystem& files, const std::string& directory);
// `client` must outlive it.
std::unique_ptr<CheckedFiles> CheckedObjects(S3Client& client, const S3Location& root);

}  // namespace quantd

#endif  // QUANTD_SERVER_FSCK_CHECKED_FILES_H_
