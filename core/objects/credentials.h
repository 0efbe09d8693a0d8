// The key that signs requests to an object store: from a file or from the environment, never from flags, which every
// user of the machine could read.
#ifndef QUANTD_CORE_OBJECTS_CREDENTIALS_H_
#define QUANTD_CORE_OBJECTS_CREDENTIALS_H_

#include <mutex>
#include <string>

#include "absl/status/statusor.h"

namespace quantd {

struct Credentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token = {};  // of temporary credentials
};

// Reads a file in the form of ~/.aws/credentials: `aws_access_key_id = ...`, `aws_secret_access_key = ...` and
// optionally `aws_session_token = ...`, in the section [default] or before any section.
// FAILED_PRECONDITION OBJECT_CREDENTIALS_MISSING, which names what is missing and never a value.
absl::StatusOr<Credentials> ReadCredentialsFile(const std::string& path);

// Thread-safe.
class CredentialsSource {
 public:
  // Empty: the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of this process.
  explicit CredentialsSource(std::string file) : file_(std::move(file)) {}

  // A file is read anew when it has changed, so that keys can be rotated while the program runs. When it cannot be read
  // any more the last good ones serve on.
  absl::StatusOr<Credentials> Get();

 private:
  const std::string file_;
  std::mutex mutex_;
  // Guarded by mutex_:
  std::string seen_;  // size, time and inode of the file read last
  Credentials last_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_CREDENTIALS_H_
