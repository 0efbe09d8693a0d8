#include "server/artifacts/s3_file.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr uint64_t kWindowBytes = 4 << 20;

}  // namespace

S3File::S3File(S3Client& client, S3Location object, uint64_t size_bytes, std::string sha256)
    : client_(client),
      object_(std::move(object)),
      size_bytes_(size_bytes),
      sha256_(std::move(sha256)),
      digest_(std::make_unique<Sha256>()) {}

absl::Status S3File::Read(uint64_t offset, absl::Span<char> out) const {
  if (offset > size_bytes_ || out.size() > size_bytes_ - offset) {
    return ReasonError(
        absl::StatusCode::kOutOfRange, "FILE_TOO_SHORT",
        absl::StrFormat("%s has %d bytes; %d were wanted from %d on", object_.Uri(), size_bytes_, out.size(), offset));
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  for (size_t done = 0; done < out.size();) {
    const uint64_t position = offset + done;
    const bool inside = position >= window_offset_ && position - window_offset_ < window_.size();
    if (!inside) RETURN_IF_ERROR(Fetch(position));
    const absl::string_view bytes = absl::string_view(window_).substr(position - window_offset_, out.size() - done);
    std::copy(bytes.begin(), bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(done));
    RETURN_IF_ERROR(Follow(position, bytes));
    done += bytes.size();
  }
  return absl::OkStatus();
}

absl::Status S3File::Fetch(uint64_t offset) const {
  const uint64_t size = std::min(kWindowBytes, size_bytes_ - offset);
  window_.clear();
  ASSIGN_OR_RETURN(
      window_, client_.GetRange(object_, {.offset = static_cast<int64_t>(offset), .size = static_cast<int64_t>(size)}));
  window_offset_ = offset;
  return absl::OkStatus();
}

absl::Status S3File::Follow(uint64_t offset, absl::string_view bytes) const {
  if (digest_ == nullptr || offset > followed_ || offset + bytes.size() <= followed_) return absl::OkStatus();
  bytes.remove_prefix(followed_ - offset);
  digest_->Update(bytes);
  followed_ += bytes.size();
  if (followed_ < size_bytes_) return absl::OkStatus();
  const std::string found = digest_->Finish();
  digest_.reset();
  if (found == sha256_) return absl::OkStatus();
  return ReasonError(
      absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
      absl::StrFormat("%s: the object store gave bytes of SHA-256 %s; restore the object, or run the job "
                      "again",
                      object_.Uri(), found));
}

}  // namespace quantd
