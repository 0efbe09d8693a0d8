#include "core/objects/s3_client.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/base/logging.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/objects/aws_signature.h"

namespace quantd {
namespace {

constexpr absl::Duration kLongPatience = absl::Minutes(10);  // the store moves up to copy_part_bytes meanwhile
constexpr size_t kMaxListBytes = 8 << 20;                    // 1000 keys of 1 KiB, percent-encoded, and their etags

double RandomFraction() {
  thread_local std::mt19937_64 generator(std::random_device{}());
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

std::string CanonicalQuery(const std::map<std::string, std::string>& query) {
  std::map<std::string, std::string> encoded;  // sorted by encoded name, as the signature wants it
  for (const auto& [name, value] : query) encoded[EncodeQuery(name)] = EncodeQuery(value);
  return absl::StrJoin(encoded, "&", absl::PairFormatter("="));
}

// Whether the body is the range that was asked for, and not the beginning of the object. Some stores answer 200 and say
// in a header which part it is.
bool IsRange(const HttpAnswer& answer, const ObjectRange& range) {
  const auto header = answer.headers.find("content-range");
  if (header == answer.headers.end()) return answer.status == 206 || range.offset == 0;
  return absl::StartsWith(header->second, absl::StrFormat("bytes %d-", range.offset));
}

bool MayPass(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable;
}

}  // namespace

absl::StatusOr<std::unique_ptr<S3Client>> S3Client::Create(const S3Options& options) {
  ASSIGN_OR_RETURN(S3Endpoint endpoint, ParseS3Endpoint(options.endpoint, options.region));
  RETURN_IF_ERROR(CredentialsSource(options.credentials_file).Get().status());
  return std::make_unique<S3Client>(options, std::move(endpoint), NewCurlTransport(options.transport), RealClock());
}

S3Client::S3Client(S3Options options, S3Endpoint endpoint, std::unique_ptr<HttpTransport> transport, Clock& clock)
    : options_(std::move(options)),
      endpoint_(std::move(endpoint)),
      transport_(std::move(transport)),
      clock_(clock),
      credentials_(options_.credentials_file) {}

absl::StatusOr<HttpRequest> S3Client::Signed(const Call& call, const std::string& body_sha256) {
  ASSIGN_OR_RETURN(const Credentials credentials, credentials_.Get());
  const bool in_path = options_.path_style;
  SignedRequest parts;
  parts.method = call.method;
  parts.host = in_path ? endpoint_.authority : absl::StrCat(call.object.bucket, ".", endpoint_.authority);
  parts.path = EncodePath(in_path ? absl::StrCat("/", call.object.bucket, "/", call.object.key)
                                  : absl::StrCat("/", call.object.key));
  parts.query = CanonicalQuery(call.query);
  parts.body_sha256 = body_sha256;
  parts.headers = call.headers;
  HttpRequest request;
  request.method = call.method;
  request.url =
      absl::StrCat(endpoint_.scheme, "://", parts.host, parts.path, parts.query.empty() ? "" : "?", parts.query);
  request.headers = SignatureHeaders(parts, {.region = options_.region, .time = clock_.Now()}, credentials);
  request.headers.insert(call.headers.begin(), call.headers.end());
  request.body = call.body;
  request.max_answer_bytes = call.max_answer_bytes;
  request.patience = call.patience;
  request.stop_requested = call.stop;
  return request;
}

absl::StatusOr<HttpAnswer> S3Client::Perform(const Call& call) {
  const std::string body_sha256 = Sha256Hex(call.body);
  const std::string action = absl::StrCat(call.method, " ", call.object.Uri());
  for (int failures = 1;; ++failures) {
    // Signed anew each time: the store refuses old signatures.
    ASSIGN_OR_RETURN(const HttpRequest request, Signed(call, body_sha256));
    absl::StatusOr<HttpAnswer> answer = transport_->Perform(request);
    const AnswerVerdict verdict =
        answer.ok() ? Judge(*answer, action) : AnswerVerdict{answer.status(), MayPass(answer.status())};
    if (verdict.status.ok()) return answer;
    if (!verdict.retry) return verdict.status;
    if (failures >= options_.retry.attempts) {
      return WithContext(verdict.status, absl::StrFormat("given up after %d tries", failures));
    }
    const absl::Duration pause = PauseAfter(options_.retry, failures, RandomFraction());
    Log(Severity::kDebug, "object_store_retry", {{"reason", ReasonOf(verdict.status)}}, verdict.status.message());
    if (!SleepUnlessStopped(pause, call.stop)) return absl::CancelledError("stopped");
  }
}

absl::StatusOr<ObjectInfo> S3Client::Head(const S3Location& object, const StopRequested& stop) {
  ASSIGN_OR_RETURN(const HttpAnswer answer, Perform({.method = "HEAD", .object = object, .stop = stop}));
  return InfoFromHeaders(answer, object.key);
}

absl::StatusOr<std::string> S3Client::GetRange(const S3Location& object, const ObjectRange& range,
                                               const StopRequested& stop) {
  if (range.size <= 0) return std::string();
  Call call = {.method = "GET", .object = object, .stop = stop};
  call.headers["range"] = absl::StrFormat("bytes=%d-%d", range.offset, range.offset + range.size - 1);
  if (!range.if_etag.empty()) call.headers["if-match"] = range.if_etag;
  // A store that ignores ranges sends the whole object, which is cut off by this limit instead of filling the memory.
  call.max_answer_bytes = static_cast<size_t>(range.size) + 1024;
  ASSIGN_OR_RETURN(HttpAnswer answer, Perform(call));
  const bool whole = static_cast<int64_t>(answer.body.size()) == range.size;
  if (whole && IsRange(answer, range)) return std::move(answer.body);
  return ReasonError(absl::StatusCode::kOutOfRange, "OBJECT_TOO_SHORT",
                     absl::StrFormat("GET %s: %d bytes from %d on were asked for, HTTP %d came with %d", object.Uri(),
                                     range.size, range.offset, answer.status, answer.body.size()));
}

absl::Status S3Client::Put(const S3Location& object, absl::string_view bytes, PutCondition condition,
                           const StopRequested& stop) {
  Call call = {.method = "PUT", .object = object, .body = bytes, .stop = stop};
  if (condition == PutCondition::kIfAbsent) call.headers.emplace("if-none-match", "*");
  return Perform(call).status();
}

absl::Status S3Client::PutFile(const S3Location& object, const RandomAccessFile& file, PutCondition condition,
                               const StopRequested& stop) {
  const auto size_bytes = static_cast<int64_t>(file.size_bytes());
  if (size_bytes >= options_.multipart_threshold_bytes) return PutInParts(object, file, condition, stop);
  std::string bytes(file.size_bytes(), '\0');
  RETURN_IF_ERROR(file.Read(0, absl::MakeSpan(bytes)));
  RETURN_IF_ERROR(Put(object, bytes, condition, stop));
  return CheckSize(object, size_bytes, stop);
}

absl::Status S3Client::CheckSize(const S3Location& object, int64_t size_bytes, const StopRequested& stop) {
  ASSIGN_OR_RETURN(const ObjectInfo info, Head(object, stop));
  if (info.size_bytes == size_bytes) return absl::OkStatus();
  return ReasonError(
      absl::StatusCode::kDataLoss, "OBJECT_SIZE_WRONG",
      absl::StrFormat("%s: %d bytes were sent, the store has %d", object.Uri(), size_bytes, info.size_bytes));
}

absl::StatusOr<ListPage> S3Client::ListSome(const S3Location& prefix, const std::string& continuation,
                                            const StopRequested& stop) {
  Call call = {.method = "GET", .object = {prefix.bucket, ""}, .max_answer_bytes = kMaxListBytes, .stop = stop};
  call.query = {{"list-type", "2"}, {"encoding-type", "url"}, {"prefix", prefix.key}};
  if (!continuation.empty()) call.query["continuation-token"] = continuation;
  return ListPageOf(call);
}

absl::StatusOr<ListPage> S3Client::ListPageOf(const Call& call) {
  ASSIGN_OR_RETURN(const HttpAnswer answer, Perform(call));
  return ParseListPage(answer.body);
}

absl::StatusOr<std::vector<std::string>> S3Client::ListFolders(const S3Location& prefix, const StopRequested& stop) {
  Call call = {.method = "GET", .object = {prefix.bucket, ""}, .max_answer_bytes = kMaxListBytes, .stop = stop};
  call.query = {{"list-type", "2"}, {"encoding-type", "url"}, {"prefix", prefix.key}, {"delimiter", "/"}};
  std::vector<std::string> names;
  while (true) {
    ASSIGN_OR_RETURN(const ListPage page, ListPageOf(call));
    for (const std::string& folder : page.folders) {
      absl::string_view name = absl::StripSuffix(folder, "/");
      if (absl::ConsumePrefix(&name, prefix.key)) names.emplace_back(name);
    }
    if (page.continuation.empty() || page.continuation == call.query["continuation-token"]) return names;
    call.query["continuation-token"] = page.continuation;
  }
}

absl::Status S3Client::Copy(const S3Location& from, const S3Location& to, int64_t size_bytes,
                            const StopRequested& stop) {
  if (size_bytes > options_.copy_part_bytes) return CopyInParts(from, to, size_bytes, stop);
  Call call = {.method = "PUT", .object = to, .patience = kLongPatience, .stop = stop};
  call.headers["x-amz-copy-source"] = EncodePath(absl::StrCat("/", from.bucket, "/", from.key));
  RETURN_IF_ERROR(Perform(call).status());
  return CheckSize(to, size_bytes, stop);
}

absl::StatusOr<std::vector<ObjectInfo>> S3Client::List(const S3Location& prefix, size_t limit,
                                                       const StopRequested& stop) {
  std::vector<ObjectInfo> all;
  std::string continuation;
  do {
    ASSIGN_OR_RETURN(ListPage page, ListSome(prefix, continuation, stop));
    std::move(page.objects.begin(), page.objects.end(), std::back_inserter(all));
    if (all.size() > limit) {
      return ReasonError(absl::StatusCode::kResourceExhausted, "OBJECT_LIST_TOO_LONG",
                         absl::StrFormat("%s: there are more than %d objects", prefix.Uri(), limit));
    }
    if (page.objects.empty() && page.continuation == continuation) break;  // a store that never ends its list
    continuation = std::move(page.continuation);
  } while (!continuation.empty());
  std::sort(all.begin(), all.end(), [](const ObjectInfo& a, const ObjectInfo& b) { return a.key < b.key; });
  return all;
}

absl::Status S3Client::Delete(const S3Location& object, const StopRequested& stop) {
  const absl::Status status = Perform({.method = "DELETE", .object = object, .stop = stop}).status();
  return ReasonOf(status) == "OBJECT_NOT_FOUND" ? absl::OkStatus() : status;
}

}  // namespace quantd
