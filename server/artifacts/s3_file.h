// An object as a file that is read at any offset.
#ifndef QUANTD_SERVER_ARTIFACTS_S3_FILE_H_
#define QUANTD_SERVER_ARTIFACTS_S3_FILE_H_

#include <memory>
#include <mutex>
#include <string>

#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "core/objects/s3_client.h"

namespace quantd {

// Fetches a window of 4 MiB at a time, so that reading in small steps costs few requests. Whoever reads it from start
// to end without leaving anything out gets DATA_LOSS DIGEST_MISMATCH instead of the last bytes when they are not those
// of `sha256`. Thread-safe.
class S3File : public RandomAccessFile {
 public:
  S3File(S3Client& client, S3Location object, uint64_t size_bytes, std::string sha256);

  uint64_t size_bytes() const override { return size_bytes_; }
  absl::Status Read(uint64_t offset, absl::Span<char> out) const override;

 private:
  // With mutex_ held:
  absl::Status Fetch(uint64_t offset) const;
  absl::Status Follow(uint64_t offset, absl::string_view bytes) const;

  S3Client& client_;
  const S3Location object_;
  const uint64_t size_bytes_;
  const std::string sha256_;

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  mutable uint64_t window_offset_ = 0;
  mutable std::string window_;
  mutable std::unique_ptr<Sha256> digest_;  // of the first followed_ bytes; null once the digest has been compared
  mutable uint64_t followed_ = 0;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_ARTIFACTS_S3_FILE_H_
