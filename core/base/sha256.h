// SHA-256 of bytes and files, as lower-case hex. OpenSSL does the arithmetic.
#ifndef QUANTD_CORE_BASE_SHA256_H_
#define QUANTD_CORE_BASE_SHA256_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Update(absl::string_view bytes);
  // 64 hex digits. Call once, last.
  std::string Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Hex(absl::string_view bytes);
// Files may have many GB: asks `stop_requested` before each megabyte, and gives CANCELLED when it says so.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path,
                                         const std::function<bool()>& stop_requested = nullptr);

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_SHA256_H_
