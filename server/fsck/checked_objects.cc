#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/base/clock.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "server/artifacts/s3_folder.h"
#include "server/fsck/checked_files.h"

namespace quantd {
namespace {

constexpr int64_t kWindowBytes = int64_t{8} << 20;

class Objects : public CheckedFiles {
 public:
  Objects(S3Client& client, const S3Location& root) : folder_(client, root) {}

  absl::string_view published_area() const override { return "sha256"; }

  absl::StatusOr<std::optional<FileProblem>> Examine(const std::string& path, const v1::ArtifactFile& expected,
                                                     bool digest) override {
    ASSIGN_OR_RETURN(const std::optional<ObjectInfo> info, folder_.Find(path));
    if (!info.has_value()) return FileProblem{true, "not there"};
    if (info->size_bytes != expected.size_bytes()) {
      return FileProblem{false, absl::StrFormat("%d bytes, expected %d", info->size_bytes, expected.size_bytes())};
    }
    if (!digest) return std::nullopt;
    const absl::StatusOr<std::string> found = DigestOf(path, info->size_bytes);
    // Servers may remove it meanwhile.
    if (ReasonOf(found.status()) == "OBJECT_NOT_FOUND") return FileProblem{true, "not there"};
    RETURN_IF_ERROR(found.status());
    if (*found == expected.sha256()) return std::nullopt;
    return FileProblem{false, absl::StrCat("its SHA-256 is ", *found)};
  }

  absl::StatusOr<std::vector<FoundFile>> TwoLevels(absl::string_view area) override {
    const S3Location prefix = folder_.At(absl::StrCat(area, "/"));
    std::vector<FoundFile> found;
    std::string continuation;
    do {
      ASSIGN_OR_RETURN(const ListPage page, folder_.client().ListSome(prefix, continuation));
      for (const ObjectInfo& object : page.objects) Note(area, prefix, object, found);
      continuation = page.continuation;
    } while (!continuation.empty());
    return found;
  }

  absl::Status Quarantine(const std::string& path) override {
    ASSIGN_OR_RETURN(const ObjectInfo info, folder_.client().Head(folder_.At(path)));
    const std::string name = absl::StrCat("quarantine/", absl::StrReplaceAll(path, {{"/", "_"}}));
    RETURN_IF_ERROR(folder_.client().Copy(folder_.At(path), folder_.At(name), info.size_bytes));
    return folder_.client().Delete(folder_.At(path));
  }

  absl::Status Remove(const std::string& path) override {
    RETURN_IF_ERROR(folder_.RemoveBelow(absl::StrCat(path, "/")));
    return folder_.client().Delete(folder_.At(path));
  }

 private:
  // Objects come sorted, so that those of one folder are neighbours.
  static void Note(absl::string_view area, const S3Location& prefix, const ObjectInfo& object,
                   std::vector<FoundFile>& found) {
    const std::vector<std::string> parts =
        absl::StrSplit(absl::string_view(object.key).substr(prefix.key.size()), absl::MaxSplits('/', 2));
    if (parts.size() < 2) return;
    const std::string path = absl::StrCat(area, "/", parts[0], "/", parts[1]);
    if (found.empty() || found.back().path != path) {
      found.push_back({path, RealClock().Now() - object.modified});
    }
  }

  absl::StatusOr<std::string> DigestOf(const std::string& path, int64_t size_bytes) {
    Sha256 digest;
    for (int64_t offset = 0; offset < size_bytes; offset += kWindowBytes) {
      ASSIGN_OR_RETURN(const std::string bytes,
                       folder_.client().GetRange(
                           folder_.At(path), {.offset = offset, .size = std::min(kWindowBytes, size_bytes - offset)}));
      digest.Update(bytes);
    }
    return digest.Finish();
  }

  const S3Folder folder_;
};

}  // namespace

std::unique_ptr<CheckedFiles> CheckedObjects(S3Client& client, const S3Location& root) {
  return std::make_unique<Objects>(client, root);
}

}  // namespace quantd
