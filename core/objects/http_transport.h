// One HTTP request and its answer, behind an interface so that faults are tested without a network.
#ifndef QUANTD_CORE_OBJECTS_HTTP_TRANSPORT_H_
#define QUANTD_CORE_OBJECTS_HTTP_TRANSPORT_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace quantd {

struct HttpRequest {
  std::string method;
  std::string url;
  std::map<std::string, std::string> headers = {};
  absl::string_view body = {};
  size_t max_answer_bytes = 1 << 20;
  // For answers that take the store long, during which nothing may move: instead of the limits of TransportOptions.
  absl::Duration patience = absl::ZeroDuration();
  std::function<bool()> stop_requested = {};  // asked about once a second, and whenever bytes move
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers = {};  // lower-case names
  std::string body = {};
};

struct TransportOptions {
  absl::Duration connect_timeout = absl::Seconds(5);
  // A transfer that moves less than 1 KiB/s for so long is given up. Whole seconds.
  absl::Duration stall_timeout = absl::Seconds(15);
  // Of one request, plus a second for each 64 KiB that it may move.
  absl::Duration request_timeout = absl::Seconds(60);
  std::string ca_file = {};  // PEM; empty: the system's
};

// Thread-safe.
class HttpTransport {
 public:
  virtual ~HttpTransport() = default;
  // OK whatever the answer's status is. UNAVAILABLE OBJECT_STORE_UNAVAILABLE when no whole answer came;
  // FAILED_PRECONDITION OBJECT_STORE_UNTRUSTED when its certificate is not accepted; RESOURCE_EXHAUSTED
  // OBJECT_ANSWER_TOO_LONG; CANCELLED when asked to stop.
  virtual absl::StatusOr<HttpAnswer> Perform(const HttpRequest& request) = 0;
};

// Over libcurl, with connections kept open between requests. HTTP and HTTPS only, redirects are not followed.
std::unique_ptr<HttpTransport> NewCurlTransport(TransportOptions options);

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_HTTP_TRANSPORT_H_
