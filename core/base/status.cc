#include "core/base/status.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

constexpr absl::string_view kReasonUrl = "quantd/reason";
constexpr absl::string_view kFieldUrl = "quantd/field";

std::string Payload(const absl::Status& status, absl::string_view url) {
  const auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace

absl::Status ReasonError(absl::StatusCode code, absl::string_view reason, absl::string_view message) {
  absl::Status status(code, message);
  status.SetPayload(kReasonUrl, absl::Cord(reason));
  return status;
}

absl::Status InvalidInput(absl::string_view reason, absl::string_view message) {
  return ReasonError(absl::StatusCode::kInvalidArgument, reason, message);
}

std::string ReasonOf(const absl::Status& status) {
  return Payload(status, kReasonUrl);
}

absl::Status WithField(absl::Status status, absl::string_view path) {
  if (!status.ok()) status.SetPayload(kFieldUrl, absl::Cord(path));
  return status;
}

std::string FieldOf(const absl::Status& status) {
  return Payload(status, kFieldUrl);
}

absl::Status WithContext(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status result(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { result.SetPayload(url, payload); });
  return result;
}

absl::Status ErrnoError(int error_number, absl::string_view action) {
  const std::string message = absl::StrCat(action, ": ", std::strerror(error_number));
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return ReasonError(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                         absl::StrCat(message, "; free some space or choose another directory"));
    case ENOENT:
      return ReasonError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", message);
    default:
      return ReasonError(absl::StatusCode::kInternal, "IO_ERROR", message);
  }
}

}  // namespace quantd
