// S3Client: files sent in parts.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "core/objects/s3_client.h"
#include "core/objects/xml.h"

namespace quantd {
namespace {

constexpr int64_t kMaxParts = 10'000;

// As configured, or larger where a file would need too many.
int64_t PartBytes(const S3Options& options, int64_t size_bytes) {
  return std::max(options.part_bytes, (size_bytes + kMaxParts - 1) / kMaxParts);
}

absl::Status Malformed(const S3Location& object, absl::string_view what) {
  return ReasonError(absl::StatusCode::kInternal, "OBJECT_ANSWER_MALFORMED",
                     absl::StrCat(object.Uri(), ": the object store's answer has no ", what));
}

}  // namespace

absl::Status S3Client::PutInParts(const S3Location& object, const RandomAccessFile& file, PutCondition condition,
                                  const StopRequested& stop) {
  ASSIGN_OR_RETURN(const std::string upload_id, BeginParts(object, stop));
  absl::StatusOr<std::string> parts = SendParts(object, upload_id, file, stop);
  absl::Status status = parts.status();
  if (status.ok()) {
    Call call = {.method = "POST", .object = object, .query = {{"uploadId", upload_id}}, .stop = stop};
    const std::string body = absl::StrCat("<CompleteMultipartUpload>", *parts, "</CompleteMultipartUpload>");
    call.body = body;
    if (condition == PutCondition::kIfAbsent) call.headers.emplace("if-none-match", "*");
    status = CompleteParts(call, static_cast<int64_t>(file.size_bytes()));
  }
  if (!status.ok()) AbortParts(object, upload_id);
  return status;
}

absl::StatusOr<std::string> S3Client::BeginParts(const S3Location& object, const StopRequested& stop) {
  ASSIGN_OR_RETURN(const HttpAnswer answer,
                   Perform({.method = "POST", .object = object, .query = {{"uploads", ""}}, .stop = stop}));
  ASSIGN_OR_RETURN(const XmlElement root, ParseXml(answer.body));
  std::string upload_id = root.TextOf("UploadId");
  if (upload_id.empty()) return Malformed(object, "UploadId");
  return upload_id;
}

// The parts as the completing call lists them.
absl::StatusOr<std::string> S3Client::SendParts(const S3Location& object, const std::string& upload_id,
                                                const RandomAccessFile& file, const StopRequested& stop) {
  const auto size_bytes = static_cast<int64_t>(file.size_bytes());
  const int64_t part_bytes = PartBytes(options_, size_bytes);
  std::string list;
  std::string bytes;
  for (int64_t offset = 0, number = 1; offset < size_bytes; offset += part_bytes, ++number) {
    bytes.resize(static_cast<size_t>(std::min(part_bytes, size_bytes - offset)));
    RETURN_IF_ERROR(file.Read(static_cast<uint64_t>(offset), absl::MakeSpan(bytes)));
    Call call = {.method = "PUT", .object = object, .body = bytes, .stop = stop};
    call.query = {{"partNumber", absl::StrCat(number)}, {"uploadId", upload_id}};
    ASSIGN_OR_RETURN(const HttpAnswer answer, Perform(call));
    const auto etag = answer.headers.find("etag");
    if (etag == answer.headers.end()) return Malformed(object, "etag of a part");
    absl::StrAppendFormat(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", number,
                          XmlEscape(etag->second));
  }
  return list;
}

absl::Status S3Client::CompleteParts(const Call& call, int64_t size_bytes) {
  const absl::Status status = Perform(call).status();
  if (status.ok()) return CheckSize(call.object, size_bytes, call.stop);
  // The upload is unknown once it is complete: an earlier try may have completed it, and only its answer was lost.
  if (ReasonOf(status) == "OBJECT_NOT_FOUND" && CheckSize(call.object, size_bytes, call.stop).ok()) {
    return absl::OkStatus();
  }
  return status;
}

// Also after a wish to stop: parts that nobody removes cost money without being seen.
void S3Client::AbortParts(const S3Location& object, const std::string& upload_id) {
  const absl::Status status =
      Perform({.method = "DELETE", .object = object, .query = {{"uploadId", upload_id}}}).status();
  if (status.ok() || ReasonOf(status) == "OBJECT_NOT_FOUND") return;
  Log(Severity::kWarning, "object_parts_left", {{"object", object.Uri()}, {"reason", ReasonOf(status)}},
      status.message());
}

}  // namespace quantd
