#include "core/objects/s3_answer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/excerpt.h"
#include "core/base/status.h"
#include "core/objects/s3_location.h"
#include "core/objects/xml.h"

namespace quantd {
namespace {

using Code = absl::StatusCode;

constexpr char kUnavailable[] = "OBJECT_STORE_UNAVAILABLE";
constexpr AnswerMeaning kMeanings[] = {
    {401, Code::kPermissionDenied, "OBJECT_STORE_DENIED", false, "check the credentials"},
    {403, Code::kPermissionDenied, "OBJECT_STORE_DENIED", false,
     "check the credentials, what they may do in this bucket, s3_region and this machine's clock"},
    {404, Code::kNotFound, "OBJECT_NOT_FOUND", false, "check the names of bucket and object"},
    {408, Code::kUnavailable, kUnavailable, true, "retry later"},
    {409, Code::kAborted, "OBJECT_CONFLICT", false, "another writer was at work on it; retry"},
    {412, Code::kAlreadyExists, "OBJECT_EXISTS", false, "it is there already, or is not the one that was meant"},
    {416, Code::kOutOfRange, "OBJECT_TOO_SHORT", false, "it has fewer bytes than it should"},
    {429, Code::kUnavailable, kUnavailable, true, "retry later"},
    {500, Code::kUnavailable, kUnavailable, true, "retry later"},
    {502, Code::kUnavailable, kUnavailable, true, "retry later"},
    {503, Code::kUnavailable, kUnavailable, true, "retry later"},
    {504, Code::kUnavailable, kUnavailable, true, "retry later"},
    {507, Code::kResourceExhausted, "DISK_FULL", false, "free some space in the object store"},
    {0, Code::kFailedPrecondition, "OBJECT_STORE_REFUSED", false,
     "check s3_endpoint, s3_region and s3_path_style against the store"},
};

// Codes in the body of an error that say more than the HTTP status does.
struct CodeMeaning {
  absl::string_view code;
  int http_status;
};
constexpr CodeMeaning kCodes[] = {
    {"SlowDown", 503},           {"InternalError", 500},
    {"ServiceUnavailable", 503}, {"RequestTimeout", 408},
    {"ExpiredToken", 403},       {"RequestTimeTooSkewed", 403},
    {"NoSuchUpload", 404},       {"XAmzContentSHA256Mismatch", 500},  // damaged on the way: send it again
    {"BadDigest", 500},          {"IncompleteBody", 500},
};

const AnswerMeaning& MeaningOf(int http_status) {
  const auto* found = std::find_if(std::begin(kMeanings), std::prev(std::end(kMeanings)),
                                   [&](const AnswerMeaning& row) { return row.http_status == http_status; });
  return *found;
}

struct StoreError {
  std::string code;
  std::string message;
};

std::optional<StoreError> ErrorInBody(absl::string_view body) {
  // Stores send blanks while they work on a long call.
  if (!absl::StrContains(absl::StripLeadingAsciiWhitespace(body).substr(0, 512), "<Error")) return std::nullopt;
  const absl::StatusOr<XmlElement> root = ParseXml(body);
  if (!root.ok() || root->name != "Error") return std::nullopt;
  return StoreError{root->TextOf("Code"), root->TextOf("Message")};
}

std::string HeaderOf(const HttpAnswer& answer, const std::string& name) {
  const auto found = answer.headers.find(name);
  return found == answer.headers.end() ? "" : found->second;
}

absl::Status Malformed(absl::string_view what) {
  return ReasonError(Code::kInternal, "OBJECT_ANSWER_MALFORMED",
                     absl::StrCat("the object store's answer is not understood: ", what));
}

absl::StatusOr<ObjectInfo> InfoFromXml(const XmlElement& element, bool encoded) {
  ObjectInfo info;
  info.key = encoded ? DecodePercent(element.TextOf("Key")) : element.TextOf("Key");
  info.etag = element.TextOf("ETag");
  if (info.key.empty() || !absl::SimpleAtoi(element.TextOf("Size"), &info.size_bytes) || info.size_bytes < 0) {
    return Malformed("an object in a list has no key or no size");
  }
  (void)absl::ParseTime(absl::RFC3339_full, element.TextOf("LastModified"), &info.modified, nullptr);
  return info;
}

std::optional<absl::Time> HttpDate(const std::string& text) {
  absl::Time time;
  if (!absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", text, absl::UTCTimeZone(), &time, nullptr)) return std::nullopt;
  return time;
}

}  // namespace

absl::Span<const AnswerMeaning> AnswerMeanings() {
  return kMeanings;
}

AnswerVerdict Judge(const HttpAnswer& answer, absl::string_view action) {
  const std::optional<StoreError> error = ErrorInBody(answer.body);
  const bool success = answer.status >= 200 && answer.status < 300;
  if (success && !error.has_value()) return {absl::OkStatus()};
  int http_status = success ? 500 : answer.status;
  std::string said = absl::StrCat("HTTP ", answer.status);
  if (error.has_value()) {
    for (const CodeMeaning& row : kCodes) {
      if (row.code == error->code) http_status = row.http_status;
    }
    absl::StrAppend(&said, " ", Excerpt(error->code), ": ", Excerpt(error->message, 200));
  }
  const AnswerMeaning& meaning = MeaningOf(http_status);
  return {ReasonError(meaning.code, meaning.reason, absl::StrCat(action, ": ", said, "; ", meaning.remedy)),
          meaning.retry};
}

absl::StatusOr<ObjectInfo> InfoFromHeaders(const HttpAnswer& answer, absl::string_view key) {
  ObjectInfo info = {.key = std::string(key), .etag = HeaderOf(answer, "etag")};
  if (!absl::SimpleAtoi(HeaderOf(answer, "content-length"), &info.size_bytes) || info.size_bytes < 0) {
    return Malformed(absl::StrCat(key, " has no content-length"));
  }
  info.modified = HttpDate(HeaderOf(answer, "last-modified")).value_or(absl::InfinitePast());
  return info;
}

absl::StatusOr<ListPage> ParseListPage(absl::string_view body) {
  ASSIGN_OR_RETURN(const XmlElement root, ParseXml(body));
  if (root.name != "ListBucketResult") return Malformed(absl::StrCat("a list is called ", Excerpt(root.name)));
  const bool encoded = root.TextOf("EncodingType") == "url";
  ListPage page;
  for (const XmlElement& element : root.children) {
    if (element.name != "Contents") continue;
    ASSIGN_OR_RETURN(ObjectInfo info, InfoFromXml(element, encoded));
    page.objects.push_back(std::move(info));
  }
  for (const XmlElement& element : root.children) {
    if (element.name != "CommonPrefixes") continue;
    const std::string folder = element.TextOf("Prefix");
    page.folders.push_back(encoded ? DecodePercent(folder) : folder);
  }
  if (root.TextOf("IsTruncated") != "true") return page;
  page.continuation = root.TextOf("NextContinuationToken");
  if (page.continuation.empty()) return Malformed("a list that goes on does not say where");
  return page;
}

}  // namespace quantd
