// A stored file on its way out, hashed from its first byte on whatever the offset, so that its end is always backed by
// the digest it is stored under.
#ifndef QUANTD_SERVER_API_CHECKED_FILE_H_
#define QUANTD_SERVER_API_CHECKED_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "quantd/v1/quant_job.pb.h"

namespace quantd {

class CheckedFile {
 public:
  // Both must outlive it.
  CheckedFile(const RandomAccessFile& file, const v1::ArtifactFile& description)
      : file_(file), description_(description) {}

  // Begins at `offset`, at most the file's size.
  absl::Status SkipTo(uint64_t offset);
  bool at_end() const { return offset_ >= file_.size_bytes(); }
  uint64_t offset() const { return offset_; }
  // At most 256 KiB.
  absl::Status Next(std::string* chunk);
  // At the end: DATA_LOSS DIGEST_MISMATCH with `remedy` when the stored bytes are not what was stored.
  absl::Status Check(absl::string_view remedy);

 private:
  const RandomAccessFile& file_;
  const v1::ArtifactFile& description_;
  uint64_t offset_ = 0;
  Sha256 digest_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_API_CHECKED_FILE_H_
