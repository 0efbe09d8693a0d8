// S3Client: objects made of parts, sent or copied.
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

constexpr absl::Duration kLongPatience = absl::Minutes(10);  // stores put parts together and copy them meanwhile

// As configured, or larger where a file would need too many.
int64_t PartBytes(int64_t configured, int64_t size_bytes) {
  return std::max(configured, (size_bytes + kMaxParts - 1) / kMaxParts);
}

absl::Status Malformed(const S3Location& object, absl::string_view what) {
  return ReasonError(absl::StatusCode::kInternal, "OBJECT_ANSWER_MALFORMED",
                     absl::StrCat(object.Uri(), ": the object store's answer has no ", what));
}

}  // namespace

absl::Status S3Client::PutInParts(const S3Location& object, const RandomAccessFile& file, PutCondition condition,
                                  const StopRequested& stop) {
  const auto size_bytes = static_cast<int64_t>(file.size_bytes());
  std::string bytes;
  const SendPart send = [&](Call call, const Part& part) -> absl::StatusOr<std::string> {
    bytes.resize(static_cast<size_t>(part.size));
    RETURN_IF_ERROR(file.Read(static_cast<uint64_t>(part.offset), absl::MakeSpan(bytes)));
    call.body = bytes;
    ASSIGN_OR_RETURN(const HttpAnswer answer, Perform(call));
    const auto etag = answer.headers.find("etag");
    return etag == answer.headers.end() ? "" : etag->second;
  };
  return MakeOfParts({object, size_bytes, PartBytes(options_.part_bytes, size_bytes), condition, stop}, send);
}

absl::Status S3Client::CopyInParts(const S3Location& from, const S3Location& to, int64_t size_bytes,
                                   const StopRequested& stop) {
  const std::string source = EncodePath(absl::StrCat("/", from.bucket, "/", from.key));
  const SendPart send = [&](Call call, const Part& part) -> absl::StatusOr<std::string> {
    call.headers["x-amz-copy-source"] = source;
    call.headers["x-amz-copy-source-range"] = absl::StrFormat("bytes=%d-%d", part.offset, part.offset + part.size - 1);
    call.patience = kLongPatience;
    ASSIGN_OR_RETURN(const HttpAnswer answer, Perform(call));
    ASSIGN_OR_RETURN(const XmlElement root, ParseXml(answer.body));
    return root.TextOf("ETag");
  };
  const int64_t part_bytes = PartBytes(options_.copy_part_bytes, size_bytes);
  return MakeOfParts({.object = to, .size_bytes = size_bytes, .part_bytes = part_bytes, .stop = stop}, send);
}

absl::Status S3Client::MakeOfParts(const PartsOf& whole, const SendPart& send) {
  ASSIGN_OR_RETURN(const std::string upload_id, BeginParts(whole.object, whole.stop));
  const absl::StatusOr<std::string> parts = SendParts(whole, upload_id, send);
  absl::Status status = parts.status();
  if (status.ok()) {
    const std::string body = absl::StrCat("<CompleteMultipartUpload>", *parts, "</CompleteMultipartUpload>");
    Call call = {.method = "POST", .object = whole.object, .query = {{"uploadId", upload_id}}};
    call.body = body;
    call.patience = kLongPatience;
    call.stop = whole.stop;
    if (whole.condition == PutCondition::kIfAbsent) call.headers.emplace("if-none-match", "*");
    status = CompleteParts(call, whole.size_bytes);
  }
  if (!status.ok()) AbortParts(whole.object, upload_id);
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

absl::StatusOr<std::string> S3Client::SendParts(const PartsOf& whole, const std::string& upload_id,
                                                const SendPart& send) {
  std::string list;
  for (Part part = {.number = 1}; part.offset < whole.size_bytes; ++part.number, part.offset += part.size) {
    part.size = std::min(whole.part_bytes, whole.size_bytes - part.offset);
    Call call = {.method = "PUT", .object = whole.object, .stop = whole.stop};
    call.query = {{"partNumber", absl::StrCat(part.number)}, {"uploadId", upload_id}};
    ASSIGN_OR_RETURN(const std::string etag, send(std::move(call), part));
    if (etag.empty()) return Malformed(whole.object, "etag of a part");
    absl::StrAppendFormat(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", part.number,
                          XmlEscape(etag));
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
