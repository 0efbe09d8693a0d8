// A file on its way: NAME.part until it is whole and its digest is right, NAME afterwards.
#ifndef QUANTD_CLIENT_PART_FILE_H_
#define QUANTD_CLIENT_PART_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/file_system.h"
#include "core/base/sha256.h"

namespace quantd {

class PartFile {
 public:
  PartFile(FileSystem& files, std::string destination);

  // Opens the part, creating the directory when absent. What an earlier run left is kept and hashed when it is at most
  // `size_limit_bytes` long, else dropped. Call before anything below.
  absl::Status Open(int64_t size_limit_bytes);
  // Drops what is there and begins again.
  absl::Status StartOver();

  // Bytes there, those of an earlier run included.
  int64_t size_bytes() const { return size_bytes_; }
  absl::Status Append(absl::string_view bytes);

  // SHA-256 of all bytes; ends the hashing, call once after the last Append.
  std::string Digest() { return hash_->Finish(); }
  // Makes the bytes durable under the final name.
  absl::Status Commit();
  // Removes the part.
  absl::Status Discard();

 private:
  FileSystem& files_;
  std::string destination_;
  std::string part_path_;
  std::unique_ptr<Sha256> hash_;
  std::unique_ptr<WritableFile> file_;
  int64_t size_bytes_ = 0;
};

}  // namespace quantd

#endif  // QUANTD_CLIENT_PART_FILE_H_
