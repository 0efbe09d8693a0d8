#include "server/fsck/file_check.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/sha256.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr char kPublished[] = "artifacts/sha256";
constexpr char kCheckpoints[] = "checkpoints";
constexpr char kStaging[] = "staging";

std::string PathOf(const NeededFile& needed) {
  const std::string& sha256 = needed.file.sha256();
  if (needed.of_checkpoint) return absl::StrCat(kCheckpoints, "/", needed.job, "/", sha256);
  return absl::StrCat(kPublished, "/", sha256.substr(0, 2), "/", sha256);
}

// Several threads take the next file each.
class DigestPool {
 public:
  DigestPool(const FileCheckOptions& options, std::vector<std::pair<std::string, NeededFile>> work)
      : options_(options), work_(std::move(work)), results_(work_.size()) {
    for (const auto& [path, needed] : work_) total_bytes_ += needed.file.size_bytes();
  }

  // By position in `work`: what is wrong, or nothing.
  std::vector<std::optional<BadFile>> Run() {
    std::vector<std::thread> threads;
    for (int i = 1; i < options_.threads; ++i) threads.emplace_back([this] { Work(); });
    Work();
    for (std::thread& thread : threads) thread.join();
    return std::move(results_);
  }

  int64_t total_bytes() const { return total_bytes_; }

 private:
  void Work() {
    for (size_t at = next_++; at < work_.size(); at = next_++) {
      results_[at] = Check(work_[at].first, work_[at].second);
      const std::lock_guard<std::mutex> lock(mutex_);
      done_bytes_ += work_[at].second.file.size_bytes();
      if (options_.progress) options_.progress(done_bytes_, total_bytes_);
    }
  }

  std::optional<BadFile> Check(const std::string& path, const NeededFile& needed) {
    const std::string full = JoinPath(options_.data_directory, path);
    const auto size_bytes = options_.files.FileSize(full);
    if (!size_bytes.ok()) {
      const bool missing = ReasonOf(size_bytes.status()) == "FILE_NOT_FOUND";
      return BadFile{needed, path, missing, missing ? "not there" : std::string(size_bytes.status().message())};
    }
    if (*size_bytes != static_cast<uint64_t>(needed.file.size_bytes())) {
      return BadFile{needed, path, false,
                     absl::StrFormat("%d bytes, expected %d", *size_bytes, needed.file.size_bytes())};
    }
    const auto digest = Sha256OfFile(full);
    if (!digest.ok()) return BadFile{needed, path, false, std::string(digest.status().message())};
    if (*digest == needed.file.sha256()) return std::nullopt;
    return BadFile{needed, path, false, absl::StrCat("its SHA-256 is ", *digest)};
  }

  const FileCheckOptions& options_;
  const std::vector<std::pair<std::string, NeededFile>> work_;
  std::vector<std::optional<BadFile>> results_;
  int64_t total_bytes_ = 0;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  int64_t done_bytes_ = 0;  // guarded by mutex_
};

// Entries of a folder that may be absent.
absl::StatusOr<std::vector<std::string>> Entries(FileSystem& files, const std::string& folder) {
  if (!files.IsDirectory(folder)) return std::vector<std::string>();
  return files.ListDirectory(folder);
}

// Everything two levels below `area`, as paths below the data directory: "artifacts/sha256/ab/abcd...".
absl::StatusOr<std::vector<std::string>> TwoLevels(const FileCheckOptions& options, const std::string& area) {
  std::vector<std::string> paths;
  ASSIGN_OR_RETURN(const auto folders, Entries(options.files, JoinPath(options.data_directory, area)));
  for (const std::string& folder : folders) {
    const std::string path = JoinPath(area, folder);
    ASSIGN_OR_RETURN(const auto names, Entries(options.files, JoinPath(options.data_directory, path)));
    for (const std::string& name : names) paths.push_back(JoinPath(path, name));
  }
  return paths;
}

}  // namespace

std::vector<BadFile> CheckNeededFiles(const FileCheckOptions& options, const std::vector<NeededFile>& needed,
                                      FsckReport& report) {
  std::map<std::string, NeededFile> by_path;
  for (const NeededFile& file : needed) by_path.emplace(PathOf(file), file);
  DigestPool pool(options, {by_path.begin(), by_path.end()});
  report.files += static_cast<int64_t>(by_path.size());
  report.bytes += pool.total_bytes();
  std::vector<BadFile> bad;
  for (std::optional<BadFile>& result : pool.Run()) {
    if (result.has_value()) bad.push_back(*std::move(result));
  }
  return bad;
}

absl::StatusOr<std::vector<Leftover>> FindLeftovers(const FileCheckOptions& options, const DatabaseContents& contents) {
  std::set<std::string> needed;
  for (const NeededFile& file : contents.files) needed.insert(PathOf(file));
  for (const std::string& attempt : contents.live_attempts) needed.insert(JoinPath(kStaging, attempt));
  constexpr std::pair<const char*, const char*> kAreas[] = {
      {kPublished, "ORPHAN_FILE"}, {kCheckpoints, "ORPHAN_CHECKPOINT"}, {kStaging, "STAGING_LEFTOVER"}};
  std::vector<Leftover> leftovers;
  for (const auto& [area, kind] : kAreas) {
    ASSIGN_OR_RETURN(const auto paths, TwoLevels(options, area));
    for (const std::string& path : paths) {
      if (needed.count(path) == 0) leftovers.push_back({kind, path});
    }
  }
  return leftovers;
}

}  // namespace quantd
