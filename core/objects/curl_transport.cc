#include <curl/curl.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "core/objects/http_transport.h"

namespace quantd {
namespace {

constexpr long kStallBytesPerSecond = 1024;
constexpr int64_t kSlowestBytesPerSecond = 64 << 10;
constexpr size_t kMaxIdleHandles = 16;
constexpr size_t kMaxHeaders = 256;

struct FreeHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, FreeHandle>;

struct FreeHeaders {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeHeaders>;

// What the callbacks work on while one request runs. None of them throws: libcurl is C.
struct Exchange {
  const HttpRequest& request;
  HttpAnswer answer = {};
  size_t sent = 0;
  bool too_long = false;
  bool stopped = false;
};

size_t Receive(char* data, size_t, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  if (count > exchange.request.max_answer_bytes - exchange.answer.body.size()) {
    exchange.too_long = true;
    return 0;
  }
  exchange.answer.body.append(data, count);
  return count;
}

size_t ReceiveHeader(char* data, size_t, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const absl::string_view line(data, count);
  // "100 Continue" comes before the answer proper.
  if (absl::StartsWith(line, "HTTP/")) exchange.answer.headers.clear();
  const std::pair<absl::string_view, absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(':', 1));
  if (exchange.answer.headers.size() < kMaxHeaders) {
    exchange.answer.headers[absl::AsciiStrToLower(halves.first)] =
        std::string(absl::StripAsciiWhitespace(halves.second));
  }
  return count;
}

size_t Send(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const absl::string_view rest = exchange.request.body.substr(exchange.sent);
  const size_t given = std::min(rest.size(), size * count);
  std::copy_n(rest.data(), given, data);
  exchange.sent += given;
  return given;
}

// libcurl begins the body again when a kept connection turns out to be closed.
int Rewind(void* user, curl_off_t offset, int origin) {
  if (origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  static_cast<Exchange*>(user)->sent = static_cast<size_t>(offset);
  return CURL_SEEKFUNC_OK;
}

int Continue(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& exchange = *static_cast<Exchange*>(user);
  exchange.stopped = exchange.request.stop_requested != nullptr && exchange.request.stop_requested();
  return exchange.stopped ? 1 : 0;
}

void InitializeCurl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

HeaderList HeadersOf(const HttpRequest& request) {
  curl_slist* list = nullptr;
  for (const auto& [name, value] : request.headers)
    list = curl_slist_append(list, absl::StrCat(name, ": ", value).c_str());
  // libcurl would add these on its own.
  for (const char* unwanted : {"Expect:", "Content-Type:", "Accept:"}) list = curl_slist_append(list, unwanted);
  return HeaderList(list);
}

// What failed, without the answer's status: there is none.
absl::Status TransportError(CURLcode code, const HttpRequest& request, const char* detail) {
  const std::string what =
      absl::StrCat(request.method, " ", request.url, ": ", *detail != '\0' ? detail : curl_easy_strerror(code));
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_CERTPROBLEM) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "OBJECT_STORE_UNTRUSTED",
                       absl::StrCat(what, "; name the authority that signed the store's certificate with s3_ca_file"));
  }
  return ReasonError(absl::StatusCode::kUnavailable, "OBJECT_STORE_UNAVAILABLE",
                     absl::StrCat(what, "; is the object store up and s3_endpoint right"));
}

class CurlTransport : public HttpTransport {
 public:
  explicit CurlTransport(TransportOptions options) : options_(std::move(options)) { InitializeCurl(); }

  absl::StatusOr<HttpAnswer> Perform(const HttpRequest& request) override {
    Handle handle = TakeHandle();
    if (handle == nullptr)
      return ReasonError(absl::StatusCode::kResourceExhausted, "MEMORY_EXHAUSTED", "no HTTP handle");
    curl_easy_reset(handle.get());  // keeps connections, drops settings
    Exchange exchange = {request};
    char detail[CURL_ERROR_SIZE] = "";
    const HeaderList headers = HeadersOf(request);
    SetTarget(handle.get(), request);
    SetLimits(handle.get(), request);
    SetCallbacks(handle.get(), exchange);
    curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, detail);
    const CURLcode code = curl_easy_perform(handle.get());
    long status = 0;
    curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
    exchange.answer.status = static_cast<int>(status);
    if (code == CURLE_OK) GiveBack(std::move(handle));
    if (exchange.stopped) return absl::CancelledError("stopped");
    if (exchange.too_long) return TooLong(request);
    if (code != CURLE_OK) return TransportError(code, request, detail);
    return std::move(exchange.answer);
  }

 private:
  static void SetTarget(CURL* handle, const HttpRequest& request) {
    curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);
    if (request.method == "HEAD") {
      curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    } else if (request.method == "PUT" || request.method == "POST") {
      curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    }
    if (request.method != "HEAD") curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }

  void SetLimits(CURL* handle, const HttpRequest& request) const {
    const auto moved = static_cast<int64_t>(request.body.size() + request.max_answer_bytes);
    const bool patient = request.patience > absl::ZeroDuration();
    const absl::Duration least = patient ? request.patience : options_.request_timeout;
    const absl::Duration limit = least + absl::Seconds(moved / kSlowestBytesPerSecond);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(absl::ToInt64Milliseconds(options_.connect_timeout)));
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(limit)));
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
    if (!patient)
      curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(absl::ToInt64Seconds(options_.stall_timeout)));
    if (!options_.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, options_.ca_file.c_str());
  }

  static void SetCallbacks(CURL* handle, Exchange& exchange) {
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Receive);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &ReceiveHeader);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, &Send);
    curl_easy_setopt(handle, CURLOPT_READDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, &Rewind);
    curl_easy_setopt(handle, CURLOPT_SEEKDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, &Continue);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &exchange);
  }

  static absl::Status TooLong(const HttpRequest& request) {
    return ReasonError(absl::StatusCode::kResourceExhausted, "OBJECT_ANSWER_TOO_LONG",
                       absl::StrFormat("%s %s: the answer has more than %d bytes; is s3_endpoint an object store",
                                       request.method, request.url, request.max_answer_bytes));
  }

  Handle TakeHandle() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) return Handle(curl_easy_init());
    Handle handle = std::move(idle_.back());
    idle_.pop_back();
    return handle;
  }

  void GiveBack(Handle handle) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.size() < kMaxIdleHandles) idle_.push_back(std::move(handle));
  }

  const TransportOptions options_;
  std::mutex mutex_;
  std::vector<Handle> idle_;  // guarded by mutex_; each keeps its connection
};

}  // namespace

std::unique_ptr<HttpTransport> NewCurlTransport(TransportOptions options) {
  return std::make_unique<CurlTransport>(std::move(options));
}

}  // namespace quantd
