#include "server/metrics/http_endpoint.h"

#include <civetweb.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/config/listen_address.h"

namespace quantd {
namespace {

constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr char kTextType[] = "text/plain; charset=utf-8";
constexpr char kJsonType[] = "application/json";

struct Answer {
  int code;
  const char* code_text;
  const char* type;
  std::string body;
};

// Handlers of civetweb return the code they sent, which ends its own processing.
int Send(mg_connection* connection, const Answer& answer) {
  const std::string head = absl::StrFormat(
      "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nCache-Control: no-store\r\nConnection: "
      "close\r\n\r\n",
      answer.code, answer.code_text, answer.type, answer.body.size());
  const bool head_only = std::string(mg_get_request_info(connection)->request_method) == "HEAD";
  const std::string text = head_only ? head : head + answer.body;
  mg_write(connection, text.data(), text.size());
  return answer.code;
}

int ServeMetrics(mg_connection* connection, void* handlers) {
  return Send(connection, {200, "OK", kMetricsType, static_cast<HttpHandlers*>(handlers)->metrics()});
}

int ServeLiveness(mg_connection* connection, void*) {
  return Send(connection, {200, "OK", kTextType, "alive\n"});
}

int ServeReadiness(mg_connection* connection, void* handlers) {
  const absl::Status status = static_cast<HttpHandlers*>(handlers)->readiness();
  if (status.ok()) return Send(connection, {200, "OK", kTextType, "ready\n"});
  return Send(connection,
              {503, "Service Unavailable", kTextType, absl::StrCat(ReasonOf(status), ": ", status.message(), "\n")});
}

int ServeRetention(mg_connection* connection, void* handlers) {
  const absl::StatusOr<std::string> plan = static_cast<HttpHandlers*>(handlers)->retention();
  if (plan.ok()) return Send(connection, {200, "OK", kJsonType, *plan});
  return Send(connection, {503, "Service Unavailable", kTextType,
                           absl::StrCat(ReasonOf(plan.status()), ": ", plan.status().message(), "\n")});
}

int ServeNothing(mg_connection* connection, void*) {
  return Send(connection, {404, "Not Found", kTextType, "try /metrics, /livez, /readyz or /retention\n"});
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(const std::string& address, HttpHandlers handlers) {
  ASSIGN_OR_RETURN(ListenAddress parsed, ParseListenAddress(address));
  RETURN_IF_ERROR(CheckFree(parsed, "--http-listen"));
  std::unique_ptr<HttpEndpoint> endpoint(new HttpEndpoint(std::move(handlers)));
  const std::string port = parsed.Text();
  const char* options[] = {"listening_ports", port.c_str(), "num_threads", "4", "request_timeout_ms", "10000", nullptr};
  endpoint->context_ = mg_start(nullptr, nullptr, options);
  mg_server_port bound = {};
  if (endpoint->context_ == nullptr || mg_get_server_ports(endpoint->context_, 1, &bound) != 1) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "ADDRESS_IN_USE",
                       absl::StrFormat("the HTTP server could not listen on %s; choose another --http-listen", port));
  }
  parsed.port = bound.port;
  endpoint->address_ = parsed.Text();
  void* const data = &endpoint->handlers_;
  mg_set_request_handler(endpoint->context_, "/metrics$", &ServeMetrics, data);
  mg_set_request_handler(endpoint->context_, "/livez$", &ServeLiveness, data);
  mg_set_request_handler(endpoint->context_, "/readyz$", &ServeReadiness, data);
  mg_set_request_handler(endpoint->context_, "/retention$", &ServeRetention, data);
  mg_set_request_handler(endpoint->context_, "**", &ServeNothing, data);
  return endpoint;
}

HttpEndpoint::~HttpEndpoint() {
  if (context_ == nullptr) return;
  // mg_stop only raises a flag, which civetweb's listening thread sees when its poll of 2 s ends or somebody connects.
  std::atomic<bool> stopped{false};
  std::thread waker([&] {
    const auto address = ParseListenAddress(address_);
    while (!stopped && address.ok()) {
      Knock(*address);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  mg_stop(context_);
  stopped = true;
  waker.join();
}

}  // namespace quantd
