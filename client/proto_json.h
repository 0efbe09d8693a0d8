// Messages as JSON: the names of the .proto files (snake_case), fields of plain types always written, 64-bit integers
// as strings (the protobuf mapping).
#ifndef QUANTD_CLIENT_PROTO_JSON_H_
#define QUANTD_CLIENT_PROTO_JSON_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace google::protobuf {
class Message;
}

namespace quantd {

enum class JsonStyle { kOneLine, kIndented };

// INTERNAL, reason JSON_UNPRINTABLE: a value that JSON cannot hold.
absl::Status MessageToJson(const google::protobuf::Message& message, JsonStyle style, std::string* json);

// Merges one JSON object into `message`. Unknown fields are errors: a misspelled setting must not be lost. `what` names
// the document. INVALID_ARGUMENT, reason JSON_MALFORMED.
absl::Status JsonToMessage(absl::string_view json, absl::string_view what, google::protobuf::Message* message);

}  // namespace quantd

#endif  // QUANTD_CLIENT_PROTO_JSON_H_
