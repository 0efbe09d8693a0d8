#include "server/planner/quant_output.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/json.h"
#include "core/base/status.h"
#include "server/errors/text_limits.h"

namespace quantd {
namespace {

constexpr size_t kMaxQuotedBytes = 1000;

absl::Status PlannerFailed(absl::string_view why, const CommandResult& result) {
  return ReasonError(
      absl::StatusCode::kUnavailable, "PLANNER_FAILED",
      absl::StrFormat("checking the job failed: %s; its last words: %s", why, KeepEnd(result.errors, kMaxQuotedBytes)));
}

absl::StatusCode CodeNamed(absl::string_view name) {
  for (int code = 1; code <= 16; ++code) {
    const auto candidate = static_cast<absl::StatusCode>(code);
    if (absl::StatusCodeToString(candidate) == name) return candidate;
  }
  return absl::StatusCode::kUnknown;
}

// {"error": {"reason", "message", "field", "code"}}; nothing when `error` is not like that.
std::optional<absl::Status> PrintedError(const Json& error) {
  if (!error.is_object()) return std::nullopt;
  const auto reason = JsonStringOr(error, "reason", "", "error");
  const auto message = JsonStringOr(error, "message", "", "error");
  const auto field = JsonStringOr(error, "field", "", "error");
  const auto code = JsonStringOr(error, "code", "", "error");
  if (!reason.ok() || reason->empty() || !message.ok() || !field.ok() || !code.ok()) return std::nullopt;
  const absl::Status status = ReasonError(CodeNamed(*code), *reason, *message);
  if (field->empty()) return status;
  return WithField(status, absl::StartsWith(*field, "spec.") ? *field : absl::StrCat("spec.", *field));
}

}  // namespace

absl::Status ReadQuantOutput(const CommandResult& result, google::protobuf::Message* message) {
  if (result.timed_out) return PlannerFailed("it took too long", result);
  if (result.signal != 0) return PlannerFailed(absl::StrCat("signal ", result.signal, " ended it"), result);
  if (result.exit_code != 0) {
    const auto json = ParseJson(result.output, "output of quant");
    if (!json.ok() || !json->is_object()) return PlannerFailed(absl::StrCat("exit code ", result.exit_code), result);
    const std::optional<absl::Status> error = PrintedError(json->value("error", Json()));
    return error.has_value() ? *error : PlannerFailed("it printed no error", result);
  }
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto parsed = google::protobuf::util::JsonStringToMessage(result.output, message, options);
  if (parsed.ok()) return absl::OkStatus();
  return PlannerFailed(absl::StrCat("its output is not understood: ", parsed.ToString()), result);
}

std::string SpecJson(const google::protobuf::Message& spec) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(spec, &json, options);
  return json;
}

}  // namespace quantd
