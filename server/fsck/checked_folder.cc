#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "server/fsck/checked_files.h"

namespace quantd {
namespace {

class Folder : public CheckedFiles {
 public:
  Folder(FileSystem& files, std::string directory) : files_(files), directory_(std::move(directory)) {}

  absl::string_view published_area() const override { return "artifacts/sha256"; }

  // What the disk refuses to read is damaged.
  absl::StatusOr<std::optional<FileProblem>> Examine(const std::string& path, const v1::ArtifactFile& expected,
                                                     bool digest) override {
    const auto size_bytes = files_.FileSize(Full(path));
    if (!size_bytes.ok()) {
      const bool missing = ReasonOf(size_bytes.status()) == "FILE_NOT_FOUND";
      return FileProblem{missing, missing ? "not there" : std::string(size_bytes.status().message())};
    }
    if (*size_bytes != static_cast<uint64_t>(expected.size_bytes())) {
      return FileProblem{false, absl::StrFormat("%d bytes, expected %d", *size_bytes, expected.size_bytes())};
    }
    if (!digest) return std::nullopt;
    const auto found = Sha256OfFile(Full(path));
    if (!found.ok()) return FileProblem{false, std::string(found.status().message())};
    if (*found == expected.sha256()) return std::nullopt;
    return FileProblem{false, absl::StrCat("its SHA-256 is ", *found)};
  }

  absl::StatusOr<std::vector<FoundFile>> TwoLevels(absl::string_view area) override {
    std::vector<FoundFile> found;
    ASSIGN_OR_RETURN(const auto folders, Entries(std::string(area)));
    for (const std::string& folder : folders) {
      ASSIGN_OR_RETURN(const auto names, Entries(JoinPath(area, folder)));
      for (const std::string& name : names) {
        const std::string path = JoinPath(JoinPath(area, folder), name);
        const auto age = files_.FileAge(Full(path));
        if (age.ok()) found.push_back({path, *age});  // else it has just gone
      }
    }
    return found;
  }

  absl::Status Quarantine(const std::string& path) override {
    RETURN_IF_ERROR(files_.CreateDirectories(Full("quarantine")));
    const std::string name = absl::StrReplaceAll(path, {{"/", "_"}});
    // No durable step: whoever repairs looks at the result, and repeats it.
    return files_.Rename(Full(path), JoinPath(Full("quarantine"), name));
  }

  absl::Status Remove(const std::string& path) override { return files_.RemoveAll(Full(path)); }

 private:
  std::string Full(absl::string_view path) const { return JoinPath(directory_, path); }

  // Of a folder that may be absent.
  absl::StatusOr<std::vector<std::string>> Entries(const std::string& folder) {
    if (!files_.IsDirectory(Full(folder))) return std::vector<std::string>();
    return files_.ListDirectory(Full(folder));
  }

  FileSystem& files_;
  const std::string directory_;
};

}  // namespace

std::unique_ptr<CheckedFiles> CheckedFolder(FileSystem& files, const std::string& directory) {
  return std::make_unique<Folder>(files, directory);
}

}  // namespace quantd
