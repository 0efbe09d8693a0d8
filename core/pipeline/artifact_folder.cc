#include "core/pipeline/artifact_folder.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/base/status.h"

namespace quantd {
namespace {

// Files of the folder that hold measurements: present, never digested.
bool IsVolatile(const std::string& path) {
  return path == kPerformanceFile || path == kHtmlFile;
}

absl::Status ForEachFile(FileSystem& files, const std::string& folder, const std::string& relative,
                         const std::function<absl::Status(const std::string& path)>& body) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.ListDirectory(JoinPath(folder, relative)));
  for (const std::string& name : names) {
    const std::string path = JoinPath(relative, name);
    const bool nested = files.IsDirectory(JoinPath(folder, path));
    RETURN_IF_ERROR(nested ? ForEachFile(files, folder, path, body) : body(path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ManifestFile>> DigestedFiles(FileSystem& files, const std::string& folder) {
  std::vector<ManifestFile> digested;
  const auto describe = [&](const std::string& path) -> absl::Status {
    if (path == kManifestFileName || IsVolatile(path)) return absl::OkStatus();
    ASSIGN_OR_RETURN(ManifestFile file, DescribeFile(folder, path));
    digested.push_back(std::move(file));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ForEachFile(files, folder, "", describe));
  std::sort(digested.begin(), digested.end(),
            [](const ManifestFile& a, const ManifestFile& b) { return a.path < b.path; });
  return digested;
}

absl::StatusOr<int64_t> FolderBytes(FileSystem& files, const std::string& folder) {
  int64_t bytes = 0;
  const auto add = [&](const std::string& path) -> absl::Status {
    ASSIGN_OR_RETURN(const uint64_t size_bytes, files.FileSize(JoinPath(folder, path)));
    bytes += static_cast<int64_t>(size_bytes);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ForEachFile(files, folder, "", add));
  return bytes;
}

absl::Status PublishFolder(FileSystem& files, const std::string& folder, const std::string& out, bool overwrite) {
  if (overwrite) RETURN_IF_ERROR(files.RemoveAll(out));
  // No durable step: a job of the service counts once its files are with the server.
  RETURN_IF_ERROR(files.Rename(folder, out));
  return files.SyncDirectory(DirectoryName(out));  // No durable step: as above.
}

}  // namespace quantd
