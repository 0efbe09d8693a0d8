// The operating system's files behind an interface, so that disk-full and power-loss tests can stand in for it.
//
// All paths are plain strings. Every call returns a status that names the path; see ErrnoError for the reasons.
// Implementations are thread-safe; one WritableFile belongs to one thread at a time.
#ifndef QUANTD_CORE_BASE_FILE_SYSTEM_H_
#define QUANTD_CORE_BASE_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "absl/time/time.h"

namespace quantd {

// A file being written. Nothing is durable before Sync() returned OK. The destructor closes without syncing.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual absl::Status Append(absl::string_view bytes) = 0;
  virtual absl::Status Sync() = 0;
  virtual absl::Status Close() = 0;
};

// A file that can be read at any offset.
class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;
  virtual uint64_t size_bytes() const = 0;
  // Reads exactly `size` bytes at `offset`; OUT_OF_RANGE when the file ends before.
  virtual absl::Status Read(uint64_t offset, absl::Span<char> out) const = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // The whole file; FILE_TOO_LARGE above `max_bytes`.
  virtual absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) = 0;
  virtual absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(const std::string& path) = 0;
  // Creates or truncates.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(const std::string& path) = 0;
  // Opens at the end, creating the file when absent.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(const std::string& path) = 0;
  virtual absl::Status CreateDirectories(const std::string& path) = 0;
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  // A second name for the bytes of a file that will not change; a synced copy where there are no links. An existing
  // `to` is replaced. The name is durable after SyncDirectory.
  virtual absl::Status LinkOrCopy(const std::string& from, const std::string& to);
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  // Recursive; absent is OK.
  virtual absl::Status RemoveAll(const std::string& path) = 0;
  virtual bool Exists(const std::string& path) = 0;
  virtual bool IsDirectory(const std::string& path) = 0;
  virtual absl::StatusOr<uint64_t> FileSize(const std::string& path) = 0;
  // Names (not paths) of the entries, sorted, without "." and "..".
  virtual absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) = 0;
  virtual absl::StatusOr<uint64_t> FreeBytes(const std::string& path) = 0;
  // Time since a file was written or touched, by the clock of this machine; never negative. Where no times are kept:
  // infinite.
  virtual absl::StatusOr<absl::Duration> FileAge(const std::string& /*path*/) { return absl::InfiniteDuration(); }
  // Makes the age 0. Not synced: after power loss the file may be as old as before.
  virtual absl::Status Touch(const std::string& /*path*/) { return absl::OkStatus(); }
};

FileSystem& RealFileSystem();

// Temp file beside `path`, write, fsync, rename, fsync of the directory: after OK the file is there with all its bytes
// even after power loss; after an error the old content (or absence) is untouched.
absl::Status WriteFileDurably(FileSystem& files, const std::string& path, absl::string_view bytes);

// A read-only mapping of a whole file. The size is taken from the open descriptor.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  absl::Span<const char> bytes() const { return {data_, size_bytes_}; }
  const std::string& path() const { return path_; }
  // Tells the kernel that the range will not be needed soon, so that resident memory falls.
  void Release(uint64_t offset, uint64_t size) const;

 private:
  MappedFile() = default;
  std::string path_;
  const char* data_ = nullptr;
  uint64_t size_bytes_ = 0;
};

// Lexical helpers.
std::string JoinPath(absl::string_view directory, absl::string_view name);
std::string BaseName(absl::string_view path);
std::string DirectoryName(absl::string_view path);

// The real path of `name` below `root`, every symlink resolved. `name` is relative, has no "..", no empty part, no
// control characters. Reasons: PATH_INVALID (malformed or overlong name, a circle of links), PATH_ESCAPES_ROOT (a link
// or ".." leads outside), FILE_NOT_FOUND.
absl::StatusOr<std::string> ResolveBelow(const std::string& root, absl::string_view name);

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_FILE_SYSTEM_H_
