// SQLite on simulated disks: while one of these lives, database files below the disk's root have their writes, syncs
// and names recorded (simulated_disk.h) and may be told to fail. All other files are SQLite's own business, and so is
// the shared memory of a write-ahead log, which does not outlive a power failure anyway.
//
//   SimulatedDisk disk(folder);
//   SimulatedVfs vfs(disk);
//   auto store = OpenSqliteJobStore(folder, clock);
#ifndef QUANTD_TESTS_DURABILITY_SIMULATED_VFS_H_
#define QUANTD_TESTS_DURABILITY_SIMULATED_VFS_H_

#include "tests/testing/simulated_disk.h"

namespace quantd {

class SimulatedVfs {
 public:
  explicit SimulatedVfs(SimulatedDisk& disk);
  ~SimulatedVfs();
  SimulatedVfs(const SimulatedVfs&) = delete;
  SimulatedVfs& operator=(const SimulatedVfs&) = delete;

 private:
  SimulatedDisk& disk_;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_DURABILITY_SIMULATED_VFS_H_
