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
#include "core/base/status.h"

namespace quantd {
namespace {

std::string PathOf(const CheckedFiles& files, const NeededFile& needed) {
  const std::string& sha256 = needed.file.sha256();
  if (needed.of_checkpoint) return absl::StrCat("checkpoints/", needed.job, "/", sha256);
  return absl::StrCat(files.published_area(), "/", sha256.substr(0, 2), "/", sha256);
}

// Several threads take the next file each.
class FilePool {
 public:
  FilePool(const FileCheckOptions& options, std::vector<std::pair<std::string, NeededFile>> work)
      : options_(options), work_(std::move(work)), results_(work_.size()) {
    for (const auto& [path, needed] : work_) total_bytes_ += needed.file.size_bytes();
  }

  // Those that are not as they should be.
  absl::StatusOr<std::vector<BadFile>> Run() {
    std::vector<std::thread> threads;
    for (int i = 1; i < options_.threads; ++i) threads.emplace_back([this] { Work(); });
    Work();
    for (std::thread& thread : threads) thread.join();
    RETURN_IF_ERROR(error_);
    std::vector<BadFile> bad;
    for (std::optional<BadFile>& result : results_) {
      if (result.has_value()) bad.push_back(*std::move(result));
    }
    return bad;
  }

  int64_t total_bytes() const { return total_bytes_; }

 private:
  void Work() {
    for (size_t at = next_++; at < work_.size(); at = next_++) {
      const auto& [path, needed] = work_[at];
      const auto problem = options_.files.Examine(path, needed.file, options_.digests);
      if (problem.ok() && problem->has_value()) {
        results_[at] = BadFile{needed, path, (*problem)->missing, (*problem)->detail};
      }
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!problem.ok()) next_ = work_.size();  // no more of them
      error_.Update(problem.status());
      done_bytes_ += needed.file.size_bytes();
      if (options_.progress) options_.progress(done_bytes_, total_bytes_);
    }
  }

  const FileCheckOptions& options_;
  const std::vector<std::pair<std::string, NeededFile>> work_;
  std::vector<std::optional<BadFile>> results_;  // by position in work_
  int64_t total_bytes_ = 0;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  // Guarded by mutex_:
  int64_t done_bytes_ = 0;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<std::vector<BadFile>> CheckNeededFiles(const FileCheckOptions& options,
                                                      const std::vector<NeededFile>& needed, FsckReport& report) {
  std::map<std::string, NeededFile> by_path;
  for (const NeededFile& file : needed) by_path.emplace(PathOf(options.files, file), file);
  FilePool pool(options, {by_path.begin(), by_path.end()});
  report.files += static_cast<int64_t>(by_path.size());
  report.bytes += pool.total_bytes();
  return pool.Run();
}

absl::StatusOr<std::vector<Leftover>> FindLeftovers(CheckedFiles& files, const DatabaseContents& contents) {
  std::set<std::string> needed;
  for (const NeededFile& file : contents.files) needed.insert(PathOf(files, file));
  for (const std::string& attempt : contents.live_attempts) needed.insert(absl::StrCat("staging/", attempt));
  const std::pair<std::string, const char*> areas[] = {{std::string(files.published_area()), "ORPHAN_FILE"},
                                                       {"checkpoints", "ORPHAN_CHECKPOINT"},
                                                       {"staging", "STAGING_LEFTOVER"}};
  std::vector<Leftover> leftovers;
  for (const auto& [area, kind] : areas) {
    ASSIGN_OR_RETURN(const auto found, files.TwoLevels(area));
    for (const FoundFile& file : found) {
      if (needed.count(file.path) == 0) leftovers.push_back({kind, file});
    }
  }
  return leftovers;
}

}  // namespace quantd
