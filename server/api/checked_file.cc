#include "server/api/checked_file.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr uint64_t kChunkBytes = 256 << 10;

}  // namespace

absl::Status CheckedFile::SkipTo(uint64_t offset) {
  std::string chunk;
  while (offset_ < offset) {
    chunk.resize(std::min(kChunkBytes, offset - offset_));
    RETURN_IF_ERROR(file_.Read(offset_, absl::MakeSpan(chunk)));
    digest_.Update(chunk);
    offset_ += chunk.size();
  }
  return absl::OkStatus();
}

absl::Status CheckedFile::Next(std::string* chunk) {
  chunk->resize(std::min(kChunkBytes, file_.size_bytes() - offset_));
  RETURN_IF_ERROR(file_.Read(offset_, absl::MakeSpan(*chunk)));
  digest_.Update(*chunk);
  offset_ += chunk->size();
  return absl::OkStatus();
}

absl::Status CheckedFile::Check(absl::string_view remedy) {
  if (digest_.Finish() == description_.sha256()) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
                     absl::StrFormat("%s: the stored bytes do not have SHA-256 %s any more; %s", description_.path(),
                                     description_.sha256(), remedy));
}

}  // namespace quantd
