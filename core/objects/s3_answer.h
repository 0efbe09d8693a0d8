// What an object store's answer means: OK, or a status with a stable reason, and whether trying again may help.
#ifndef QUANTD_CORE_OBJECTS_S3_ANSWER_H_
#define QUANTD_CORE_OBJECTS_S3_ANSWER_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/objects/http_transport.h"

namespace quantd {

// One row for each HTTP status that has a meaning of its own; others are the last row's.
struct AnswerMeaning {
  int http_status;
  absl::StatusCode code;
  const char* reason;
  bool retry;
  const char* remedy;
};
absl::Span<const AnswerMeaning> AnswerMeanings();

struct AnswerVerdict {
  absl::Status status;
  bool retry = false;
};

// `action` is a phrase for messages: "PUT s3://bucket/key". An answer of 200 may hold an error too, where the store
// began to answer before it knew.
AnswerVerdict Judge(const HttpAnswer& answer, absl::string_view action);

struct ObjectInfo {
  std::string key;
  int64_t size_bytes = 0;
  std::string etag = {};     // with its quotes; changes when the object does
  absl::Time modified = {};  // by the store's clock
};

// Of a HEAD: size, etag and time. INTERNAL OBJECT_ANSWER_MALFORMED without a size.
absl::StatusOr<ObjectInfo> InfoFromHeaders(const HttpAnswer& answer, absl::string_view key);

struct ListPage {
  std::vector<ObjectInfo> objects;
  std::vector<std::string> folders = {};  // beginnings of keys up to the delimiter, where one was given
  std::string continuation = {};          // empty: this was the last page
};
absl::StatusOr<ListPage> ParseListPage(absl::string_view body);

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_S3_ANSWER_H_
