#include "core/model/activation_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/checked.h"
#include "core/base/file_system.h"
#include "core/base/status.h"

namespace quantd {
namespace {

absl::StatusOr<std::string> ScratchDirectory(const ActivationStoreOptions& options) {
  if (!options.scratch_directory.empty()) return options.scratch_directory;
  std::error_code error;
  const std::filesystem::path path = std::filesystem::temp_directory_path(error);
  if (error) return ErrnoError(error.value(), "finding the system's temporary directory");
  return path.string();
}

// A new file that has no name any more. Not O_TMPFILE: some file systems under containers lack it.
absl::StatusOr<int> OpenUnlinkedFile(const std::string& directory) {
  std::string path = JoinPath(directory, "quantd-activations-XXXXXX");
  const int fd = mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return ErrnoError(errno, absl::StrCat("creating an activation file in ", directory));
  unlink(path.c_str());
  return fd;
}

absl::StatusOr<float*> MapScratchFile(const std::string& directory, uint64_t size_bytes) {
  ASSIGN_OR_RETURN(const int fd, OpenUnlinkedFile(directory));
  // posix_fallocate reports its error as the result and leaves errno alone.
  const int error = posix_fallocate(fd, 0, static_cast<off_t>(size_bytes));
  void* data = error == 0 ? mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  const int map_error = error == 0 ? errno : error;
  close(fd);
  if (data == MAP_FAILED) {
    return ErrnoError(map_error, absl::StrFormat("reserving %d bytes for activations in %s", size_bytes, directory));
  }
  return static_cast<float*>(data);
}

absl::StatusOr<float*> MapMemory(uint64_t size_bytes) {
  void* data = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return ReasonError(absl::StatusCode::kResourceExhausted, "MEMORY_EXHAUSTED",
                       absl::StrFormat("no memory for %d bytes of activations; use fewer or shorter sequences, or a "
                                       "smaller memory budget so that they are kept on disk",
                                       size_bytes));
  }
  return static_cast<float*>(data);
}

absl::Status TooLarge(int64_t width) {
  return InvalidInput("ACTIVATIONS_TOO_LARGE",
                      absl::StrFormat("activations of width %d need more bytes than 63 bits can count; use fewer or "
                                      "shorter sequences",
                                      width));
}

}  // namespace

absl::StatusOr<ActivationStore> ActivationStore::Create(absl::Span<const int64_t> lengths, int64_t width,
                                                        const ActivationStoreOptions& options) {
  ActivationStore store;
  store.width_ = width;
  store.begin_.push_back(0);
  uint64_t rows = 0;
  for (const int64_t length : lengths) {
    const std::optional<uint64_t> sum = CheckedAdd(rows, static_cast<uint64_t>(length));
    if (length < 0 || !sum.has_value() || *sum > INT64_MAX) return TooLarge(width);
    rows = *sum;
    store.begin_.push_back(static_cast<int64_t>(rows));
  }
  const std::optional<uint64_t> size_bytes = CheckedProduct({rows, static_cast<uint64_t>(width), sizeof(float)});
  if (width < 0 || !size_bytes.has_value() || *size_bytes > INT64_MAX) return TooLarge(width);
  store.size_bytes_ = *size_bytes;
  if (*size_bytes == 0) return store;
  store.spilled_ = *size_bytes > options.memory_budget_bytes;
  if (store.spilled_) {
    ASSIGN_OR_RETURN(const std::string directory, ScratchDirectory(options));
    ASSIGN_OR_RETURN(store.data_, MapScratchFile(directory, *size_bytes));
  } else {
    ASSIGN_OR_RETURN(store.data_, MapMemory(*size_bytes));
  }
  return store;
}

absl::StatusOr<ActivationStore> ActivationStore::Create(int64_t sequences, int64_t length, int64_t width,
                                                        const ActivationStoreOptions& options) {
  constexpr int64_t kMaxSequences = int64_t{1} << 32;  // bounds the row table itself
  if (sequences < 0 || sequences > kMaxSequences) return TooLarge(width);
  return Create(std::vector<int64_t>(static_cast<size_t>(sequences), length), width, options);
}

ActivationStore::ActivationStore(ActivationStore&& other) noexcept : begin_{0} {
  *this = std::move(other);
}

ActivationStore& ActivationStore::operator=(ActivationStore&& other) noexcept {
  std::swap(begin_, other.begin_);
  std::swap(width_, other.width_);
  std::swap(size_bytes_, other.size_bytes_);
  std::swap(spilled_, other.spilled_);
  std::swap(data_, other.data_);
  return *this;
}

ActivationStore::~ActivationStore() {
  if (data_ != nullptr) munmap(data_, size_bytes_);
}

MutableMatrixView ActivationStore::sequence(int64_t index) {
  return rows().Rows(begin_[index], begin_[index + 1] - begin_[index]);
}

MatrixView ActivationStore::sequence(int64_t index) const {
  return rows().Rows(begin_[index], begin_[index + 1] - begin_[index]);
}

void ActivationStore::Release(int64_t index) const {
  if (!spilled_) return;
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t row_bytes = static_cast<uint64_t>(width_) * sizeof(float);
  // Whole pages inside the sequence; a shared mapping keeps its values in the file.
  const uint64_t begin = (static_cast<uint64_t>(begin_[index]) * row_bytes + page - 1) / page * page;
  const uint64_t end = static_cast<uint64_t>(begin_[index + 1]) * row_bytes / page * page;
  if (begin < end) madvise(reinterpret_cast<char*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace quantd
