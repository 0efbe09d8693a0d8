#include "core/base/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "core/base/status.h"

namespace quantd {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

absl::StatusOr<int> OpenFile(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoError(errno, absl::StrCat("opening ", path));
  return fd;
}

absl::StatusOr<uint64_t> RegularFileSize(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoError(errno, absl::StrCat("reading the size of ", path));
  if (!S_ISREG(info.st_mode)) {
    return InvalidInput("NOT_A_REGULAR_FILE", absl::StrCat(path, ": not a regular file"));
  }
  return static_cast<uint64_t>(info.st_size);
}

class PosixWritableFile : public WritableFile {
 public:
  PosixWritableFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  absl::Status Append(absl::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return ErrnoError(errno, absl::StrCat("writing ", path_));
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }
  absl::Status Sync() override {
    if (fsync(fd_.get()) != 0) return ErrnoError(errno, absl::StrCat("syncing ", path_));
    return absl::OkStatus();
  }
  absl::Status Close() override {
    const int fd = fd_.release();
    if (fd >= 0 && close(fd) != 0) return ErrnoError(errno, absl::StrCat("closing ", path_));
    return absl::OkStatus();
  }

 private:
  Descriptor fd_;
  std::string path_;
};

class PosixRandomAccessFile : public RandomAccessFile {
 public:
  PosixRandomAccessFile(int fd, uint64_t size_bytes, std::string path)
      : fd_(fd), size_bytes_(size_bytes), path_(std::move(path)) {}

  uint64_t size_bytes() const override { return size_bytes_; }
  absl::Status Read(uint64_t offset, absl::Span<char> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError(errno, absl::StrCat("reading ", path_));
      if (got == 0) {
        return absl::OutOfRangeError(
            absl::StrFormat("%s ends at byte %d, wanted %d bytes at %d", path_, offset + done, out.size(), offset));
      }
      done += static_cast<size_t>(got);
    }
    return absl::OkStatus();
  }

 private:
  Descriptor fd_;
  uint64_t size_bytes_;
  std::string path_;
};

class PosixFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) override {
    ASSIGN_OR_RETURN(const auto file, OpenForRead(path));
    if (file->size_bytes() > max_bytes) {
      return InvalidInput("FILE_TOO_LARGE",
                          absl::StrFormat("%s: %d bytes, the limit is %d", path, file->size_bytes(), max_bytes));
    }
    std::string bytes(file->size_bytes(), '\0');
    RETURN_IF_ERROR(file->Read(0, absl::MakeSpan(bytes)));
    return bytes;
  }

  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(const std::string& path) override {
    ASSIGN_OR_RETURN(const int raw, OpenFile(path, O_RDONLY));
    Descriptor fd(raw);
    ASSIGN_OR_RETURN(const uint64_t size_bytes, RegularFileSize(fd.get(), path));
    return std::unique_ptr<RandomAccessFile>(std::make_unique<PosixRandomAccessFile>(fd.release(), size_bytes, path));
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(const std::string& path) override {
    return OpenWritable(path, O_WRONLY | O_CREAT | O_TRUNC);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(const std::string& path) override {
    return OpenWritable(path, O_WRONLY | O_CREAT | O_APPEND);
  }

  absl::Status CreateDirectories(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    return error ? ErrnoError(error.value(), absl::StrCat("creating directory ", path)) : absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) return ErrnoError(errno, absl::StrCat("renaming ", from, " to ", to));
    return absl::OkStatus();
  }

  absl::Status LinkOrCopy(const std::string& from, const std::string& to) override {
    if (Exists(to)) RETURN_IF_ERROR(RemoveFile(to));
    if (link(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    // Another file system, one without links, or too many of them.
    if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != ENOTSUP) {
      return ErrnoError(errno, absl::StrCat("linking ", to, " to ", from));
    }
    return FileSystem::LinkOrCopy(from, to);
  }

  absl::Status SyncDirectory(const std::string& path) override {
    ASSIGN_OR_RETURN(const int raw, OpenFile(path, O_RDONLY | O_DIRECTORY));
    Descriptor fd(raw);
    if (fsync(fd.get()) != 0) return ErrnoError(errno, absl::StrCat("syncing directory ", path));
    return absl::OkStatus();
  }

  absl::Status RemoveFile(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return ErrnoError(errno, absl::StrCat("removing ", path));
    return absl::OkStatus();
  }

  absl::Status RemoveAll(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    return error ? ErrnoError(error.value(), absl::StrCat("removing ", path)) : absl::OkStatus();
  }

  bool Exists(const std::string& path) override { return access(path.c_str(), F_OK) == 0; }

  bool IsDirectory(const std::string& path) override {
    struct stat info;
    return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  }

  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return ErrnoError(errno, absl::StrCat("reading the size of ", path));
    return static_cast<uint64_t>(info.st_size);
  }

  absl::StatusOr<absl::Duration> FileAge(const std::string& path) override {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return ErrnoError(errno, absl::StrCat("reading the age of ", path));
    return std::max(absl::Now() - absl::TimeFromTimespec(info.st_mtim), absl::ZeroDuration());
  }

  absl::Status Touch(const std::string& path) override {
    if (utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0) return absl::OkStatus();
    return ErrnoError(errno, absl::StrCat("touching ", path));
  }

  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) override {
    std::error_code error;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) return ErrnoError(error.value(), absl::StrCat("listing ", path));
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override {
    struct statvfs info;
    if (statvfs(path.c_str(), &info) != 0) return ErrnoError(errno, absl::StrCat("reading free space of ", path));
    return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  }

 private:
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenWritable(const std::string& path, int flags) {
    ASSIGN_OR_RETURN(const int fd, OpenFile(path, flags));
    return std::unique_ptr<WritableFile>(std::make_unique<PosixWritableFile>(fd, path));
  }
};

absl::Status WriteAndSync(FileSystem& files, const std::string& path, absl::string_view bytes) {
  ASSIGN_OR_RETURN(const auto file, files.OpenForWrite(path));
  RETURN_IF_ERROR(file->Append(bytes));
  RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

absl::Status CheckRelativeName(absl::string_view name) {
  const auto bad = [&](absl::string_view why) {
    return InvalidInput("PATH_INVALID", absl::StrFormat("'%s' is not a name below the root: %s", name, why));
  };
  if (name.empty()) return bad("it is empty");
  if (name.size() > 1024) return bad("it is longer than 1024 bytes");
  if (name.front() == '/') return bad("it is absolute; give the path relative to the configured root");
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return bad("it has control characters");
  }
  for (const absl::string_view part : absl::StrSplit(name, '/')) {
    if (part == "..") {
      return InvalidInput("PATH_ESCAPES_ROOT",
                          absl::StrFormat("'%s' leads outside its root: '..' is not allowed", name));
    }
    if (part.empty()) return bad("it has an empty part");
  }
  return absl::OkStatus();
}

// What is wrong with the name is its giver's fault, not the disk's.
absl::Status UnresolvedName(int error_number, const std::string& action) {
  switch (error_number) {
    case ENOTDIR:
      return ErrnoError(ENOENT, action);
    case ENAMETOOLONG:
    case ELOOP:
      return InvalidInput("PATH_INVALID", absl::StrCat(action, ": ", std::strerror(error_number)));
    default:
      return ErrnoError(error_number, action);
  }
}

}  // namespace

absl::Status FileSystem::LinkOrCopy(const std::string& from, const std::string& to) {
  constexpr uint64_t kPieceBytes = 1 << 20;
  ASSIGN_OR_RETURN(const auto source, OpenForRead(from));
  ASSIGN_OR_RETURN(const auto copy, OpenForWrite(to));
  std::string piece;
  for (uint64_t offset = 0; offset < source->size_bytes(); offset += piece.size()) {
    piece.resize(std::min(kPieceBytes, source->size_bytes() - offset));
    RETURN_IF_ERROR(source->Read(offset, absl::MakeSpan(piece)));
    RETURN_IF_ERROR(copy->Append(piece));
  }
  RETURN_IF_ERROR(copy->Sync());
  return copy->Close();
}

FileSystem& RealFileSystem() {
  static auto* const files = new PosixFileSystem;
  return *files;
}

absl::Status WriteFileDurably(FileSystem& files, const std::string& path, absl::string_view bytes) {
  const std::string temporary = path + ".tmp";
  absl::Status status = WriteAndSync(files, temporary, bytes);
  if (status.ok()) status = files.Rename(temporary, path);
  if (!status.ok()) {
    (void)files.RemoveFile(temporary);
    return status;
  }
  return files.SyncDirectory(DirectoryName(path));
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(const int raw, OpenFile(path, O_RDONLY));
  Descriptor fd(raw);
  ASSIGN_OR_RETURN(const uint64_t size_bytes, RegularFileSize(fd.get(), path));
  MappedFile file;
  file.path_ = path;
  file.size_bytes_ = size_bytes;
  if (size_bytes == 0) return file;
  void* data = mmap(nullptr, size_bytes, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return ErrnoError(errno, absl::StrCat("mapping ", path));
  file.data_ = static_cast<const char*>(data);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
  *this = std::move(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_bytes_);
}

void MappedFile::Release(uint64_t offset, uint64_t size) const {
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = (offset + page - 1) / page * page;
  const uint64_t end = std::min(offset + size, size_bytes_) / page * page;
  if (begin < end) madvise(const_cast<char*>(data_) + begin, end - begin, MADV_DONTNEED);
}

std::string JoinPath(absl::string_view directory, absl::string_view name) {
  if (directory.empty()) return std::string(name);
  return directory.back() == '/' ? absl::StrCat(directory, name) : absl::StrCat(directory, "/", name);
}

std::string BaseName(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == absl::string_view::npos ? path : path.substr(slash + 1));
}

std::string DirectoryName(absl::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return ".";
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

absl::StatusOr<std::string> ResolveBelow(const std::string& root, absl::string_view name) {
  RETURN_IF_ERROR(CheckRelativeName(name));
  std::error_code error;
  const std::filesystem::path real_root = std::filesystem::canonical(root, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("resolving root ", root));
  const std::filesystem::path real = std::filesystem::canonical(real_root / std::string(name), error);
  if (error) return UnresolvedName(error.value(), absl::StrFormat("resolving '%s' below %s", name, root));
  const auto [mismatch, unused] = std::mismatch(real_root.begin(), real_root.end(), real.begin(), real.end());
  if (mismatch != real_root.end()) {
    return InvalidInput("PATH_ESCAPES_ROOT",
                        absl::StrFormat("'%s' leads outside its root %s; links must stay inside", name, root));
  }
  return real.string();
}

}  // namespace quantd
