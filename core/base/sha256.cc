#include "core/base/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <vector>

#include "absl/strings/escaping.h"
#include "core/base/file_system.h"
#include "core/base/status.h"

namespace quantd {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr);
}
Sha256::~Sha256() = default;

void Sha256::Update(absl::string_view bytes) {
  EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size());
}

std::string Sha256::Finish() {
  char digest[32];
  EVP_DigestFinal_ex(context_->evp, reinterpret_cast<unsigned char*>(digest), nullptr);
  return absl::BytesToHexString(absl::string_view(digest, sizeof(digest)));
}

std::string Sha256Hex(absl::string_view bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return sha.Finish();
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path, const std::function<bool()>& stop_requested) {
  ASSIGN_OR_RETURN(const auto file, RealFileSystem().OpenForRead(path));
  Sha256 sha;
  std::vector<char> buffer(1 << 20);
  for (uint64_t offset = 0; offset < file->size_bytes(); offset += buffer.size()) {
    if (stop_requested != nullptr && stop_requested()) return absl::CancelledError("stopped");
    const uint64_t size = std::min<uint64_t>(buffer.size(), file->size_bytes() - offset);
    RETURN_IF_ERROR(file->Read(offset, absl::MakeSpan(buffer.data(), size)));
    sha.Update(absl::string_view(buffer.data(), size));
  }
  return sha.Finish();
}

}  // namespace quantd
