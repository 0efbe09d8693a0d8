// Statuses with a stable reason.
//
// Every error that a user can cause carries, beside its canonical code and a message for people, a reason for programs
// (UPPER_SNAKE, never changed once released) and optionally the path of the request field at fault:
//
//   return ReasonError(absl::StatusCode::kInvalidArgument, "TENSOR_OUTSIDE_FILE",
//                      absl::StrFormat("%s: tensor '%s' ends at byte %d, but ...", path, name, end));
//
// A good message names the file, the tensor or field, the limit that was broken, and what to do about it.
// The server translates reason, field and message into the rich gRPC error model at the RPC edge.
#ifndef QUANTD_CORE_BASE_STATUS_H_
#define QUANTD_CORE_BASE_STATUS_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

absl::Status ReasonError(absl::StatusCode code, absl::string_view reason, absl::string_view message);

// Shorthand for the most common case: INVALID_ARGUMENT.
absl::Status InvalidInput(absl::string_view reason, absl::string_view message);

// The reason, or "" where none was attached.
std::string ReasonOf(const absl::Status& status);

// The same status with `path` (e.g. "spec.recipe.overrides.bits") as the request field at fault.
absl::Status WithField(absl::Status status, absl::string_view path);
std::string FieldOf(const absl::Status& status);

// The same code, reason and field, with `context` and ": " before the message. OK stays OK.
absl::Status WithContext(const absl::Status& status, absl::string_view context);

// Status from errno: DISK_FULL for ENOSPC and EDQUOT, FILE_NOT_FOUND for ENOENT, else IO_ERROR. `action` is a phrase
// with the path: "writing /data/x.tmp".
absl::Status ErrnoError(int error_number, absl::string_view action);

}  // namespace quantd

#define QUANTD_CONCAT_INNER(a, b) a##b
#define QUANTD_CONCAT(a, b) QUANTD_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expr)                                                           \
  do {                                                                                  \
    if (absl::Status quantd_status = (expr); !quantd_status.ok()) return quantd_status; \
  } while (false)

#define ASSIGN_OR_RETURN(lhs, expr) QUANTD_ASSIGN_OR_RETURN_IMPL(QUANTD_CONCAT(quantd_statusor_, __LINE__), lhs, expr)
#define QUANTD_ASSIGN_OR_RETURN_IMPL(statusor, lhs, expr)  \
  auto statusor = (expr);                                  \
  if (!statusor.ok()) return std::move(statusor).status(); \
  lhs = *std::move(statusor)

#endif  // QUANTD_CORE_BASE_STATUS_H_
