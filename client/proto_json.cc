#include "client/proto_json.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {

absl::Status MessageToJson(const google::protobuf::Message& message, JsonStyle style, std::string* json) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  options.add_whitespace = style == JsonStyle::kIndented;
  json->clear();
  const auto status = google::protobuf::util::MessageToJsonString(message, json, options);
  if (status.ok()) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kInternal, "JSON_UNPRINTABLE",
                     absl::StrCat("the answer cannot be written as JSON: ", std::string(status.message())));
}

absl::Status JsonToMessage(absl::string_view json, absl::string_view what, google::protobuf::Message* message) {
  const std::unique_ptr<google::protobuf::Message> parsed(message->New());
  const auto status = google::protobuf::util::JsonStringToMessage({json.data(), json.size()}, parsed.get());
  if (!status.ok()) {
    return InvalidInput("JSON_MALFORMED", absl::StrCat(what, ": ", std::string(status.message())));
  }
  message->MergeFrom(*parsed);
  return absl::OkStatus();
}

}  // namespace quantd
