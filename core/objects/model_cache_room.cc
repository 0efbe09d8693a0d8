// ModelCache: who goes when there is no room.
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "core/objects/model_cache.h"

namespace quantd {
namespace {

constexpr char kRoom[] = "room";  // no digest, so no other lock has this name

struct FolderInfo {
  std::string name;
  absl::Time used;
};

// What the folder takes on the disk: outlines have holes.
absl::StatusOr<int64_t> DiskBytes(FileSystem& files, const std::string& folder) {
  constexpr int64_t kBlockBytes = 512;  // of st_blocks, whatever the file system's own are
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.ListDirectory(folder));
  int64_t sum = 0;
  for (const std::string& name : names) {
    struct stat info = {};
    if (stat(JoinPath(folder, name).c_str(), &info) == 0) sum += std::min(info.st_size, info.st_blocks * kBlockBytes);
  }
  return sum;
}

}  // namespace

absl::Status ModelCache::Reserve(const Listing& listing, const StopRequested& stop) {
  const int64_t needed = FetchedBytes(listing);
  if (needed > options_.max_bytes) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "MODEL_EXCEEDS_CACHE",
                       absl::StrFormat("%s has %d bytes, the model cache holds %d at most; raise model_cache_bytes",
                                       listing.folder.Uri(), needed, options_.max_bytes));
  }
  ASSIGN_OR_RETURN(const FileLock room, FileLock::Take(InFolder("locks", kRoom), FileLock::Mode::kExclusive, stop));
  RETURN_IF_ERROR(RemoveLeftovers());
  while (true) {
    ASSIGN_OR_RETURN(const int64_t used, UsedBytes());
    if (used + needed <= options_.max_bytes) break;
    ASSIGN_OR_RETURN(const bool evicted, EvictOne());
    if (evicted) continue;
    return ReasonError(
        absl::StatusCode::kResourceExhausted, "MODEL_CACHE_FULL",
        absl::StrFormat("%s needs %d bytes; of the %d of the model cache %d are in use by other jobs. Wait "
                        "for them, or raise model_cache_bytes",
                        listing.folder.Uri(), needed, options_.max_bytes, used));
  }
  return WriteFileDurably(files_, InFolder("reserved", listing.key), absl::StrCat(needed));
}

// Fetches that ended with their process have left their lock.
absl::Status ModelCache::RemoveLeftovers() {
  for (const char* folder : {"partial", "reserved"}) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.ListDirectory(InFolder(folder, "")));
    for (const std::string& name : names) {
      ASSIGN_OR_RETURN(const std::optional<FileLock> free,
                       FileLock::TryTake(InFolder("locks", name), FileLock::Mode::kExclusive));
      if (free.has_value()) RETURN_IF_ERROR(files_.RemoveAll(InFolder(folder, name)));
    }
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> removed, files_.ListDirectory(InFolder("trash", "")));
  for (const std::string& name : removed) RETURN_IF_ERROR(files_.RemoveAll(InFolder("trash", name)));
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ModelCache::UsedBytes() {
  int64_t sum = 0;
  ASSIGN_OR_RETURN(const std::vector<std::string> models, files_.ListDirectory(models_));
  for (const std::string& model : models) {
    ASSIGN_OR_RETURN(const int64_t bytes, DiskBytes(files_, JoinPath(models_, model)));
    sum += bytes;
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> reserved, files_.ListDirectory(InFolder("reserved", "")));
  for (const std::string& name : reserved) {
    const auto text = files_.ReadFile(InFolder("reserved", name), /*max_bytes=*/32);
    int64_t bytes = 0;
    if (text.ok() && absl::SimpleAtoi(*text, &bytes)) sum += bytes;
  }
  return sum;
}

absl::StatusOr<bool> ModelCache::EvictOne() {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.ListDirectory(models_));
  std::vector<FolderInfo> models;
  for (const std::string& name : names) {
    struct stat info = {};
    if (stat(JoinPath(models_, name).c_str(), &info) == 0)
      models.push_back({name, absl::TimeFromTimespec(info.st_mtim)});
  }
  std::sort(models.begin(), models.end(), [](const FolderInfo& a, const FolderInfo& b) { return a.used < b.used; });
  for (const FolderInfo& model : models) {
    ASSIGN_OR_RETURN(std::optional<FileLock> unused,
                     FileLock::TryTake(InFolder("locks", model.name), FileLock::Mode::kExclusive));
    if (!unused.has_value()) continue;
    RETURN_IF_ERROR(Remove(model.name));
    unused->RemoveFile();
    Log(Severity::kInfo, "model_evicted", {{"digest", model.name}});
    return true;
  }
  return false;
}

// Out of sight first: a folder that is half removed is never found under models/.
absl::Status ModelCache::Remove(const std::string& digest) {
  RETURN_IF_ERROR(files_.Rename(JoinPath(models_, digest), InFolder("trash", digest)));
  ASSIGN_OR_RETURN(const std::vector<std::string> sources, files_.ListDirectory(InFolder("sources", "")));
  for (const std::string& source : sources) {
    const auto known = files_.ReadFile(InFolder("sources", source), /*max_bytes=*/64);
    if (known.ok() && *known == digest) RETURN_IF_ERROR(files_.RemoveFile(InFolder("sources", source)));
  }
  return files_.RemoveAll(InFolder("trash", digest));
}

}  // namespace quantd
