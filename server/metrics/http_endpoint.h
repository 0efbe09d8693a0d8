// /metrics, /livez, /readyz and /retention on a small HTTP listener of its own.
//
// /livez: 200 while the process can answer at all, also while it drains. /readyz: 200 or 503 with the reason.
// /retention: what the next pass of retention would begin with, as JSON.
#ifndef QUANTD_SERVER_METRICS_HTTP_ENDPOINT_H_
#define QUANTD_SERVER_METRICS_HTTP_ENDPOINT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct mg_context;

namespace quantd {

struct HttpHandlers {
  std::function<std::string()> metrics;     // the text of a scrape
  std::function<absl::Status()> readiness;  // OK: ready
  std::function<absl::StatusOr<std::string>()> retention;
};

class HttpEndpoint {
 public:
  // `address`: HOST:PORT with an IP address as host; port 0 takes a free one. FAILED_PRECONDITION ADDRESS_IN_USE;
  // INVALID_ARGUMENT ADDRESS_INVALID. Handlers are called from several threads.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(const std::string& address, HttpHandlers handlers);
  ~HttpEndpoint();
  HttpEndpoint(const HttpEndpoint&) = delete;
  HttpEndpoint& operator=(const HttpEndpoint&) = delete;

  const std::string& address() const { return address_; }  // with the real port

 private:
  explicit HttpEndpoint(HttpHandlers handlers) : handlers_(std::move(handlers)) {}

  HttpHandlers handlers_;
  std::string address_;
  mg_context* context_ = nullptr;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_METRICS_HTTP_ENDPOINT_H_
