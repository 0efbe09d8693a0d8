// A client of S3 and of stores that speak like it.
//
//   S3Client client({.endpoint = "http://127.0.0.1:9000", .path_style = true});
//   RETURN_IF_ERROR(client.PutFile({"models", "tiny/model.safetensors"}, *file, PutCondition::kIfAbsent));
//   ASSIGN_OR_RETURN(const std::string bytes, client.GetRange({"models", "tiny/config.json"}, {.size = 4096}));
//
// Every call tries again, with growing pauses, when the store is busy, broken or not to be reached; it gives up after
// RetryPolicy::attempts, and at once when the store denies, does not have or refuses what is asked:
//   OBJECT_STORE_UNAVAILABLE (UNAVAILABLE), OBJECT_STORE_DENIED (PERMISSION_DENIED), OBJECT_NOT_FOUND (NOT_FOUND),
//   OBJECT_EXISTS (ALREADY_EXISTS), OBJECT_CONFLICT (ABORTED), OBJECT_TOO_SHORT (OUT_OF_RANGE), DISK_FULL
//   (RESOURCE_EXHAUSTED), OBJECT_STORE_REFUSED, OBJECT_STORE_UNTRUSTED and OBJECT_CREDENTIALS_MISSING
//   (FAILED_PRECONDITION), OBJECT_ANSWER_MALFORMED, OBJECT_ANSWER_TOO_LONG; CANCELLED when asked to stop.
//
// Memory: for each upload the file when it is small, else one part (at most 64 and 16 MiB by default); for each
// download the range that is asked for. Bodies are covered by the signature, so that the store refuses bytes that were
// damaged on the way. Thread-safe.
#ifndef QUANTD_CORE_OBJECTS_S3_CLIENT_H_
#define QUANTD_CORE_OBJECTS_S3_CLIENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/clock.h"
#include "core/base/file_system.h"
#include "core/objects/credentials.h"
#include "core/objects/http_transport.h"
#include "core/objects/retry.h"
#include "core/objects/s3_answer.h"
#include "core/objects/s3_location.h"

namespace quantd {

struct S3Options {
  std::string endpoint = {};  // "https://store.example:9000"; empty: Amazon's of the region
  std::string region = "us-east-1";
  bool path_style = false;            // endpoint/bucket/key instead of bucket.endpoint/key
  std::string credentials_file = {};  // empty: from the environment
  TransportOptions transport = {};
  RetryPolicy retry = {};
  // Files from this size on are sent in parts; no part but the last may have less than 5 MiB.
  int64_t multipart_threshold_bytes = int64_t{64} << 20;
  int64_t part_bytes = int64_t{16} << 20;
  // Larger objects are copied in parts; stores copy at most 5 GiB at once, and not all of them copy parts.
  int64_t copy_part_bytes = int64_t{4} << 30;
};

enum class PutCondition {
  kAlways,
  // OBJECT_EXISTS when there is such an object already. Also after a try whose answer was lost: it may be our own.
  kIfAbsent,
};

using StopRequested = std::function<bool()>;

struct ObjectRange {
  int64_t offset = 0;
  int64_t size = 0;
  std::string if_etag = {};  // OBJECT_EXISTS, "not the one that was meant", when the object has changed since
};

class S3Client {
 public:
  // INVALID_ARGUMENT OBJECT_ENDPOINT_INVALID; FAILED_PRECONDITION OBJECT_CREDENTIALS_MISSING. Nothing is sent.
  static absl::StatusOr<std::unique_ptr<S3Client>> Create(const S3Options& options);
  // With another transport, for tests.
  S3Client(S3Options options, S3Endpoint endpoint, std::unique_ptr<HttpTransport> transport, Clock& clock);

  absl::StatusOr<ObjectInfo> Head(const S3Location& object, const StopRequested& stop = {});

  // Exactly `range.size` bytes, held in memory.
  absl::StatusOr<std::string> GetRange(const S3Location& object, const ObjectRange& range,
                                       const StopRequested& stop = {});

  absl::Status Put(const S3Location& object, absl::string_view bytes, PutCondition condition,
                   const StopRequested& stop = {});

  // In parts when it is large; after a failure the parts that were sent are removed. Asks for the object's size
  // afterwards: DATA_LOSS OBJECT_SIZE_WRONG when it is not the file's.
  absl::Status PutFile(const S3Location& object, const RandomAccessFile& file, PutCondition condition,
                       const StopRequested& stop = {});

  // Every object whose key begins with `prefix.key`, sorted; RESOURCE_EXHAUSTED OBJECT_LIST_TOO_LONG beyond `limit`.
  absl::StatusOr<std::vector<ObjectInfo>> List(const S3Location& prefix, size_t limit, const StopRequested& stop = {});
  // The names between `prefix.key`, which ends with '/', and the next '/'.
  absl::StatusOr<std::vector<std::string>> ListFolders(const S3Location& prefix, const StopRequested& stop = {});
  // A page of at most 1000; `continuation` of the page before, or "".
  absl::StatusOr<ListPage> ListSome(const S3Location& prefix, const std::string& continuation,
                                    const StopRequested& stop = {});

  // Within the store; its bytes do not come here. Replaces what was there. DATA_LOSS OBJECT_SIZE_WRONG as above.
  absl::Status Copy(const S3Location& from, const S3Location& to, int64_t size_bytes, const StopRequested& stop = {});

  // Absent is OK.
  absl::Status Delete(const S3Location& object, const StopRequested& stop = {});

 private:
  struct Call {
    std::string method;
    S3Location object;
    std::map<std::string, std::string> query = {};    // not encoded
    std::map<std::string, std::string> headers = {};  // lower-case names
    absl::string_view body = {};
    size_t max_answer_bytes = 64 << 10;
    absl::Duration patience = absl::ZeroDuration();  // of HttpRequest
    StopRequested stop = {};
  };
  absl::StatusOr<HttpAnswer> Perform(const Call& call);
  absl::StatusOr<HttpRequest> Signed(const Call& call, const std::string& body_sha256);

  absl::StatusOr<ListPage> ListPageOf(const Call& call);

  struct PartsOf {  // an object that is made of parts
    S3Location object;
    int64_t size_bytes = 0;
    int64_t part_bytes = 0;
    PutCondition condition = PutCondition::kAlways;
    StopRequested stop = {};
  };
  struct Part {
    int64_t number = 0;
    int64_t offset = 0;
    int64_t size = 0;
  };
  // Fills in what makes the part, beside its number: sends it, and gives its etag.
  using SendPart = std::function<absl::StatusOr<std::string>(Call call, const Part& part)>;
  absl::Status MakeOfParts(const PartsOf& whole, const SendPart& send);
  absl::StatusOr<std::string> BeginParts(const S3Location& object, const StopRequested& stop);
  // The parts as the completing call lists them.
  absl::StatusOr<std::string> SendParts(const PartsOf& whole, const std::string& upload_id, const SendPart& send);
  absl::Status PutInParts(const S3Location& object, const RandomAccessFile& file, PutCondition condition,
                          const StopRequested& stop);
  absl::Status CopyInParts(const S3Location& from, const S3Location& to, int64_t size_bytes, const StopRequested& stop);
  absl::Status CompleteParts(const Call& call, int64_t size_bytes);
  void AbortParts(const S3Location& object, const std::string& upload_id);
  absl::Status CheckSize(const S3Location& object, int64_t size_bytes, const StopRequested& stop);

  const S3Options options_;
  const S3Endpoint endpoint_;
  const std::unique_ptr<HttpTransport> transport_;
  Clock& clock_;
  CredentialsSource credentials_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_S3_CLIENT_H_
