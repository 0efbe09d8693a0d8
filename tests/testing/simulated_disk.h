// A folder whose files survive a power failure only as far as they were synced, as on a real disk.
//
// What programs read is what they wrote: it lies in real files. Beside them this class keeps what the disk would hold:
//   - bytes of a file last once the file is synced; a write before that may be lost, whole or in part;
//   - a name (created, renamed, removed) lasts once its folder is synced; a rename happens whole or not at all;
//   - bytes of a failed sync are lost for good: a later sync that succeeds does not bring them back.
// SimulatedFileSystem and the SQLite VFS of tests/durability/simulated_vfs.h report every change here. Nothing is ever
// really synced, so hundreds of power failures take seconds.
#ifndef QUANTD_TESTS_TESTING_SIMULATED_DISK_H_
#define QUANTD_TESTS_TESTING_SIMULATED_DISK_H_

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace quantd {

enum class DiskOperation { kCreate, kWrite, kTruncate, kSync, kClose, kRename, kRemove, kSyncDirectory };

// Operation `at` (counted from 0 since it was set, among those of `only` when not empty) fails with `error_number`; a
// write then writes half of its bytes when `short_write`. `for_good`: all later ones fail too.
struct DiskFault {
  int64_t at = std::numeric_limits<int64_t>::max();
  int error_number = 0;
  bool short_write = false;
  bool for_good = false;
  bool power_cut = false;  // a failing sync then loses nothing yet: LosePower decides
  std::vector<DiskOperation> only = {};
};

// Thread-safe, apart from LosePower, which wants every file closed.
class SimulatedDisk {
 public:
  struct Node;
  using NodePtr = std::shared_ptr<Node>;
  // What an operation is to do instead of its work: nothing (error_number 0), fail, or write half and fail.
  struct Verdict {
    int error_number = 0;
    bool short_write = false;
  };

  // Everything below `root` (a real folder) counts as synced.
  explicit SimulatedDisk(const std::string& root);
  ~SimulatedDisk();

  const std::string& root() const { return root_; }
  bool Contains(absl::string_view path) const;

  void SetFault(const DiskFault& fault);
  void Heal() { SetFault({}); }
  // From operation `at` on nothing changes the disk any more.
  void CutPowerAt(int64_t at, bool short_write = false);
  // Operations since SetFault; with `only`, of those.
  int64_t operations();
  // Whether the fault has struck, and the path it struck first.
  bool failed();
  std::string failed_path();

  // Asked before each operation that changes the disk.
  Verdict Next(DiskOperation operation, const std::string& path);

  // Told after the real file was changed. `Opened` is for files open for writing, made when absent.
  NodePtr Opened(const std::string& path);
  void Wrote(const NodePtr& file, uint64_t offset, absl::string_view bytes);
  void Appended(const NodePtr& file, absl::string_view bytes);
  void Truncated(const NodePtr& file, uint64_t size_bytes);
  void Synced(const NodePtr& file);
  void SyncFailed(const NodePtr& file);
  void MadeDirectories(const std::string& path);
  void Renamed(const std::string& from, const std::string& to);
  void Removed(const std::string& path);
  void SyncedDirectory(const std::string& path);

  // The power fails and comes back: of what is not synced, the seed decides what is left, which names and which 4 KiB
  // pages, the last of them perhaps torn. Heals faults.
  void LosePower(uint64_t seed);

 private:
  struct NameChange {
    std::string path;  // what the name leads to from now on: `node`, or nothing when null
    NodePtr node;
    std::string from;  // of a rename: this name goes at the same moment
  };

  NodePtr Find(const std::string& path);
  void Change(NameChange change);
  void MakeDurable(const NameChange& change);
  void LoseNames(std::mt19937_64& random, double kept);
  void DropUnreachable();
  void WriteRealFiles();

  const std::string root_;
  std::mutex mutex_;
  DiskFault fault_;
  int64_t operations_ = 0;
  std::string failed_path_;
  // By path, as programs see them and as they would be after a power failure that loses all it can.
  std::map<std::string, NodePtr> visible_;
  std::map<std::string, NodePtr> durable_;
  std::vector<NameChange> unsynced_names_;  // oldest first
};

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_SIMULATED_DISK_H_
