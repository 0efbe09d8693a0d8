#include "tests/durability/simulated_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "core/base/file_system.h"

namespace quantd {
namespace {

struct Disks {
  std::mutex mutex;
  std::vector<SimulatedDisk*> all;  // guarded by mutex
};

Disks& KnownDisks() {
  static auto* const disks = new Disks;
  return *disks;
}

SimulatedDisk* DiskOf(const char* path) {
  if (path == nullptr) return nullptr;
  const std::lock_guard<std::mutex> lock(KnownDisks().mutex);
  for (SimulatedDisk* disk : KnownDisks().all) {
    if (disk->Contains(path)) return disk;
  }
  return nullptr;
}

sqlite3_vfs* RealVfs() {
  static sqlite3_vfs* const real = sqlite3_vfs_find("unix");
  return real;
}

struct Recorded {
  SimulatedDisk* disk = nullptr;
  SimulatedDisk::NodePtr node;
  std::string path;
  bool sync_name = false;  // the first sync of a log or journal that was just made also syncs its folder
};

// What SQLite allocates for an open file; the real one follows it in memory.
struct SimulatedFile {
  sqlite3_file base;
  Recorded* recorded;
};

SimulatedFile* Simulated(sqlite3_file* file) {
  return reinterpret_cast<SimulatedFile*>(file);
}
Recorded& RecordOf(sqlite3_file* file) {
  return *Simulated(file)->recorded;
}
sqlite3_file* Real(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(Simulated(file) + 1);
}
const sqlite3_io_methods& RealMethods(sqlite3_file* file) {
  return *Real(file)->pMethods;
}

// 0 when the operation may go on.
int Failure(SimulatedDisk& disk, DiskOperation operation, const std::string& path, int code) {
  const int error_number = disk.Next(operation, path).error_number;
  if (error_number == 0) return SQLITE_OK;
  return error_number == ENOSPC && operation != DiskOperation::kSync ? SQLITE_FULL : code;
}

int Close(sqlite3_file* file) {
  const int failure = Failure(*RecordOf(file).disk, DiskOperation::kClose, RecordOf(file).path, SQLITE_IOERR_CLOSE);
  const int closed = RealMethods(file).xClose(Real(file));
  delete Simulated(file)->recorded;
  return failure == SQLITE_OK ? closed : failure;
}

int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  Recorded& record = RecordOf(file);
  const SimulatedDisk::Verdict verdict = record.disk->Next(DiskOperation::kWrite, record.path);
  const bool fails = verdict.error_number != 0;
  if (fails) size = verdict.short_write ? size / 2 : 0;
  const int written = RealMethods(file).xWrite(Real(file), data, size, offset);
  if (written != SQLITE_OK) return written;
  record.disk->Wrote(record.node, static_cast<uint64_t>(offset),
                     {static_cast<const char*>(data), static_cast<size_t>(size)});
  if (!fails) return SQLITE_OK;
  return verdict.error_number == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  Recorded& record = RecordOf(file);
  const int failure = Failure(*record.disk, DiskOperation::kTruncate, record.path, SQLITE_IOERR_TRUNCATE);
  if (failure != SQLITE_OK) return failure;
  const int truncated = RealMethods(file).xTruncate(Real(file), size);
  if (truncated == SQLITE_OK) record.disk->Truncated(record.node, static_cast<uint64_t>(size));
  return truncated;
}

int SyncFolder(SimulatedDisk& disk, const std::string& path) {
  const int failure = Failure(disk, DiskOperation::kSyncDirectory, path, SQLITE_IOERR_DIR_FSYNC);
  if (failure == SQLITE_OK) disk.SyncedDirectory(DirectoryName(path));
  return failure;
}

int Sync(sqlite3_file* file, int) {
  Recorded& record = RecordOf(file);
  const int failure = Failure(*record.disk, DiskOperation::kSync, record.path, SQLITE_IOERR_FSYNC);
  if (failure != SQLITE_OK) {
    record.disk->SyncFailed(record.node);
    return failure;
  }
  record.disk->Synced(record.node);
  if (!std::exchange(record.sync_name, false)) return SQLITE_OK;
  return SyncFolder(*record.disk, record.path);
}

int Read(sqlite3_file* file, void* data, int size, sqlite3_int64 offset) {
  return RealMethods(file).xRead(Real(file), data, size, offset);
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return RealMethods(file).xFileSize(Real(file), size);
}
int Lock(sqlite3_file* file, int level) {
  return RealMethods(file).xLock(Real(file), level);
}
int Unlock(sqlite3_file* file, int level) {
  return RealMethods(file).xUnlock(Real(file), level);
}
int CheckReservedLock(sqlite3_file* file, int* reserved) {
  return RealMethods(file).xCheckReservedLock(Real(file), reserved);
}
int FileControl(sqlite3_file* file, int operation, void* argument) {
  return RealMethods(file).xFileControl(Real(file), operation, argument);
}
int SectorSize(sqlite3_file* file) {
  return RealMethods(file).xSectorSize(Real(file));
}
int DeviceCharacteristics(sqlite3_file* file) {
  return RealMethods(file).xDeviceCharacteristics(Real(file));
}
int ShmMap(sqlite3_file* file, int page, int size, int extend, void volatile** memory) {
  return RealMethods(file).xShmMap(Real(file), page, size, extend, memory);
}
int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  return RealMethods(file).xShmLock(Real(file), offset, count, flags);
}
void ShmBarrier(sqlite3_file* file) {
  RealMethods(file).xShmBarrier(Real(file));
}
int ShmUnmap(sqlite3_file* file, int remove) {
  return RealMethods(file).xShmUnmap(Real(file), remove);
}

// Version 2: no mapping of database pages, through which writes would pass unseen.
constexpr sqlite3_io_methods kMethods = {2,
                                         Close,
                                         Read,
                                         Write,
                                         Truncate,
                                         Sync,
                                         FileSize,
                                         Lock,
                                         Unlock,
                                         CheckReservedLock,
                                         FileControl,
                                         SectorSize,
                                         DeviceCharacteristics,
                                         ShmMap,
                                         ShmLock,
                                         ShmBarrier,
                                         ShmUnmap,
                                         nullptr,
                                         nullptr};

int Open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  SimulatedDisk* const disk = DiskOf(path);
  if (disk == nullptr) return RealVfs()->xOpen(RealVfs(), path, file, flags, out_flags);
  file->pMethods = nullptr;
  const bool there = RealFileSystem().Exists(path);
  if (!there && (flags & SQLITE_OPEN_CREATE) != 0) {
    const int failure = Failure(*disk, DiskOperation::kCreate, path, SQLITE_CANTOPEN);
    if (failure != SQLITE_OK) return failure;
  }
  const int opened = RealVfs()->xOpen(RealVfs(), path, Real(file), flags, out_flags);
  if (opened != SQLITE_OK) return opened;
  const bool log = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL)) != 0;
  Simulated(file)->recorded = new Recorded{disk, disk->Opened(path), path, log && !there};
  file->pMethods = &kMethods;
  return SQLITE_OK;
}

int Delete(sqlite3_vfs*, const char* path, int sync_folder) {
  SimulatedDisk* const disk = DiskOf(path);
  if (disk == nullptr) return RealVfs()->xDelete(RealVfs(), path, sync_folder);
  const int failure = Failure(*disk, DiskOperation::kRemove, path, SQLITE_IOERR_DELETE);
  if (failure != SQLITE_OK) return failure;
  const int removed = RealVfs()->xDelete(RealVfs(), path, 0);
  if (removed != SQLITE_OK) return removed;
  disk->Removed(path);
  return sync_folder != 0 ? SyncFolder(*disk, path) : SQLITE_OK;
}

sqlite3_vfs MakeVfs() {
  sqlite3_vfs vfs = *RealVfs();
  vfs.szOsFile = static_cast<int>(sizeof(SimulatedFile)) + RealVfs()->szOsFile;
  vfs.pNext = nullptr;
  vfs.zName = "simulated";
  vfs.xOpen = Open;
  vfs.xDelete = Delete;
  return vfs;
}

}  // namespace

SimulatedVfs::SimulatedVfs(SimulatedDisk& disk) : disk_(disk) {
  sqlite3_initialize();
  static sqlite3_vfs vfs = MakeVfs();
  static const int registered = sqlite3_vfs_register(&vfs, /*makeDflt=*/1);
  (void)registered;
  const std::lock_guard<std::mutex> lock(KnownDisks().mutex);
  KnownDisks().all.push_back(&disk);
}

SimulatedVfs::~SimulatedVfs() {
  const std::lock_guard<std::mutex> lock(KnownDisks().mutex);
  auto& all = KnownDisks().all;
  all.erase(std::find(all.begin(), all.end(), &disk_));
}

}  // namespace quantd
