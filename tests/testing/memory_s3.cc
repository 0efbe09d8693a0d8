#include "tests/testing/memory_s3.h"

#include <cstdio>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "core/base/sha256.h"

namespace quantd {
namespace {

std::string Etag(const std::string& bytes) {
  return absl::StrCat("\"", Sha256Hex(bytes).substr(0, 32), "\"");
}

// One parameter of a query; the few escapes that prefixes have are undone.
std::optional<std::string> Parameter(const std::string& query, absl::string_view name) {
  for (const absl::string_view pair : absl::StrSplit(query, '&')) {
    const std::pair<absl::string_view, absl::string_view> halves = absl::StrSplit(pair, absl::MaxSplits('=', 1));
    if (halves.first == name) return absl::StrReplaceAll(halves.second, {{"%2F", "/"}});
  }
  return std::nullopt;
}

std::string HeaderOf(const ScriptedRequest& request, const std::string& name) {
  const auto found = request.headers.find(name);
  return found == request.headers.end() ? "" : found->second;
}

std::string HttpTime(absl::Time time) {
  return absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", time, absl::UTCTimeZone());
}

}  // namespace

ScriptedAnswer S3Error(int status, const std::string& code) {
  return {.status = status, .body = absl::StrCat("<Error><Code>", code, "</Code><Message>as told</Message></Error>")};
}

MemoryS3::MemoryS3() : server_([this](const ScriptedRequest& request) { return Answer(request); }) {}

void MemoryS3::SetFault(Fault fault) {
  const std::lock_guard<std::mutex> lock(mutex_);
  fault_ = std::move(fault);
}

void MemoryS3::Put(const std::string& path, const std::string& bytes, absl::Time modified) {
  const std::lock_guard<std::mutex> lock(mutex_);
  objects_[path] = {bytes, modified};
}

void MemoryS3::Erase(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  objects_.erase(path);
}

std::optional<std::string> MemoryS3::Get(const std::string& path) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = objects_.find(path);
  if (found == objects_.end()) return std::nullopt;
  return found->second.bytes;
}

std::vector<std::string> MemoryS3::Paths() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> paths;
  for (const auto& [path, object] : objects_) paths.push_back(path);
  return paths;
}

size_t MemoryS3::open_uploads() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return uploads_.size();
}

void MemoryS3::SetPageSize(size_t page_size) {
  const std::lock_guard<std::mutex> lock(mutex_);
  page_size_ = page_size;
}

ScriptedAnswer MemoryS3::Answer(const ScriptedRequest& request) {
  Fault fault;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    fault = fault_;
  }
  if (fault != nullptr) {
    if (std::optional<ScriptedAnswer> answer = fault(request)) return *std::move(answer);
  }
  ScriptedAnswer answer = AnswerTruly(request);
  answer.headers["date"] = HttpTime(absl::Now());
  return answer;
}

ScriptedAnswer MemoryS3::AnswerTruly(const ScriptedRequest& request) {
  if (!absl::StartsWith(HeaderOf(request, "authorization"), "AWS4-HMAC-SHA256 ")) return S3Error(403, "AccessDenied");
  if (HeaderOf(request, "x-amz-content-sha256") != Sha256Hex(request.body)) {
    return S3Error(400, "XAmzContentSHA256Mismatch");
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Parameter(request.query, "list-type").has_value()) return List(request);
  if (!request.query.empty()) return Multipart(request);
  if (const std::string source = HeaderOf(request, "x-amz-copy-source"); !source.empty()) return Copy(request, source);
  if (request.method == "PUT") return Write(request, request.body);
  if (request.method == "DELETE") {
    objects_.erase(request.path);
    return {.status = 204};
  }
  return Read(request);
}

ScriptedAnswer MemoryS3::Read(const ScriptedRequest& request) {
  const auto found = objects_.find(request.path);
  if (found == objects_.end()) return S3Error(404, "NoSuchKey");
  const Object& object = found->second;
  const std::string wanted = HeaderOf(request, "if-match");
  if (!wanted.empty() && wanted != Etag(object.bytes)) return S3Error(412, "PreconditionFailed");
  ScriptedAnswer answer = {.headers = {{"etag", Etag(object.bytes)}, {"last-modified", HttpTime(object.modified)}},
                           .body = object.bytes};
  size_t first = 0;
  size_t last = 0;
  if (std::sscanf(HeaderOf(request, "range").c_str(), "bytes=%zu-%zu", &first, &last) == 2) {
    if (first >= object.bytes.size()) return S3Error(416, "InvalidRange");
    answer.status = 206;
    answer.body = object.bytes.substr(first, last - first + 1);
  }
  return answer;
}

ScriptedAnswer MemoryS3::Write(const ScriptedRequest& request, const std::string& bytes) {
  if (HeaderOf(request, "if-none-match") == "*" && objects_.count(request.path) != 0) {
    return S3Error(412, "PreconditionFailed");
  }
  objects_[request.path] = {bytes, absl::Now()};
  return {.headers = {{"etag", Etag(bytes)}}};
}

ScriptedAnswer MemoryS3::Copy(const ScriptedRequest& request, const std::string& source) {
  const auto found = objects_.find(source);
  if (found == objects_.end()) return S3Error(404, "NoSuchKey");
  ScriptedAnswer answer = Write(request, found->second.bytes);
  answer.body = "\n<CopyObjectResult></CopyObjectResult>";
  return answer;
}

ScriptedAnswer MemoryS3::List(const ScriptedRequest& request) {
  const std::string start = absl::StrCat(request.path, Parameter(request.query, "prefix").value_or(""));
  const std::string after = Parameter(request.query, "continuation-token").value_or("");
  std::string body = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  size_t listed = 0;
  std::string last;
  const bool by_folder = Parameter(request.query, "delimiter").has_value();
  std::set<std::string> folders;
  for (auto it = objects_.lower_bound(std::max(start, after + "\x01")); it != objects_.end(); ++it) {
    if (!absl::StartsWith(it->first, start)) break;
    if (listed++ == page_size_) {
      absl::StrAppend(&body, "<IsTruncated>true</IsTruncated><NextContinuationToken>", last,
                      "</NextContinuationToken>");
      break;
    }
    last = it->first;
    const size_t slash = it->first.find('/', start.size());
    if (by_folder && slash != std::string::npos) {
      folders.insert(it->first.substr(request.path.size(), slash + 1 - request.path.size()));
      continue;
    }
    absl::StrAppend(&body, "<Contents><Key>", it->first.substr(request.path.size()), "</Key><Size>",
                    it->second.bytes.size(), "</Size><ETag>", Etag(it->second.bytes), "</ETag><LastModified>",
                    absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", it->second.modified, absl::UTCTimeZone()),
                    "</LastModified></Contents>");
  }
  for (const std::string& folder : folders) {
    absl::StrAppend(&body, "<CommonPrefixes><Prefix>", folder, "</Prefix></CommonPrefixes>");
  }
  return {.body = absl::StrCat(body, "</ListBucketResult>")};
}

ScriptedAnswer MemoryS3::Multipart(const ScriptedRequest& request) {
  if (request.method == "POST" && Parameter(request.query, "uploads").has_value()) {
    const std::string id = absl::StrCat("upload", ++last_upload_);
    uploads_[id];
    return {.body = absl::StrCat("<R><UploadId>", id, "</UploadId></R>")};
  }
  const auto upload = uploads_.find(Parameter(request.query, "uploadId").value_or(""));
  if (upload == uploads_.end()) return S3Error(404, "NoSuchUpload");
  if (request.method == "PUT") {
    int number = 0;
    if (!absl::SimpleAtoi(Parameter(request.query, "partNumber").value_or(""), &number)) return S3Error(400, "Part");
    std::string bytes = request.body;
    const auto source = objects_.find(HeaderOf(request, "x-amz-copy-source"));
    size_t first = 0;
    size_t last = 0;
    if (source != objects_.end() &&
        std::sscanf(HeaderOf(request, "x-amz-copy-source-range").c_str(), "bytes=%zu-%zu", &first, &last) == 2) {
      bytes = source->second.bytes.substr(first, last - first + 1);
    }
    upload->second[number] = bytes;
    return {.headers = {{"etag", Etag(bytes)}},
            .body = absl::StrCat("<CopyPartResult><ETag>", Etag(bytes), "</ETag></CopyPartResult>")};
  }
  ScriptedAnswer answer = {.status = 204};
  if (request.method == "POST") {
    std::string bytes;
    for (const auto& [number, part] : upload->second) bytes += part;
    answer = Write(request, bytes);
    if (answer.status == 200) answer.body = "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>";
    if (answer.status != 200) return answer;
  }
  uploads_.erase(upload);
  return answer;
}

}  // namespace quantd
