#include "client/text/exit_code.h"

#include "absl/strings/str_format.h"
#include "client/job_arguments.h"
#include "client/rpc_status.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr ExitCodeRow kExitCodes[] = {
    {ExitCode::kOk, "done; with --wait and watch: the job SUCCEEDED"},
    {ExitCode::kJobFailed, "the job FAILED"},
    {ExitCode::kUsage, "bad arguments; nothing was sent"},
    {ExitCode::kInvalidRequest, "the server refused the request as invalid or not permitted"},
    {ExitCode::kNotFound, "no such job, model, text, recipe or artifact file"},
    {ExitCode::kUnavailable, "the server cannot be reached, is draining, or did not answer in time"},
    {ExitCode::kJobCancelled, "the job was CANCELLED"},
    {ExitCode::kJobRejected, "the job was REJECTED: it worked, but missed a limit of the request"},
    {ExitCode::kConflict,
     "not possible in this state: not finished, not deleted, request id used for another job, no such device"},
    {ExitCode::kExhausted, "a limit of the server is reached: queue, quota or disk"},
    {ExitCode::kLocalFile, "a file on this machine cannot be read or written"},
    {ExitCode::kInternal, "data was damaged on the way, or an unexpected error"},
};

struct StatusRow {
  absl::StatusCode status;
  ExitCode exit;
};
constexpr StatusRow kByStatus[] = {
    {absl::StatusCode::kOk, ExitCode::kOk},
    {absl::StatusCode::kInvalidArgument, ExitCode::kInvalidRequest},
    {absl::StatusCode::kOutOfRange, ExitCode::kInvalidRequest},
    {absl::StatusCode::kUnauthenticated, ExitCode::kInvalidRequest},
    {absl::StatusCode::kPermissionDenied, ExitCode::kInvalidRequest},
    {absl::StatusCode::kNotFound, ExitCode::kNotFound},
    {absl::StatusCode::kUnavailable, ExitCode::kUnavailable},
    {absl::StatusCode::kDeadlineExceeded, ExitCode::kUnavailable},
    {absl::StatusCode::kAlreadyExists, ExitCode::kConflict},
    {absl::StatusCode::kFailedPrecondition, ExitCode::kConflict},
    {absl::StatusCode::kAborted, ExitCode::kConflict},
    {absl::StatusCode::kResourceExhausted, ExitCode::kExhausted},
};

struct ReasonRow {
  absl::string_view reason;
  ExitCode exit;
};
// Made on this side.
constexpr ReasonRow kByLocalReason[] = {
    {kBadArgument, ExitCode::kUsage},         {"JOB_NAME_INVALID", ExitCode::kUsage},
    {"TENANT_INVALID", ExitCode::kUsage},     {"JSON_MALFORMED", ExitCode::kUsage},
    {"FILE_NOT_FOUND", ExitCode::kLocalFile}, {"FILE_TOO_LARGE", ExitCode::kLocalFile},
    {"IO_ERROR", ExitCode::kLocalFile},       {"DISK_FULL", ExitCode::kLocalFile},
};

}  // namespace

absl::Span<const ExitCodeRow> ExitCodes() {
  return kExitCodes;
}

std::string ExitCodeHelp() {
  std::string help = "Exit codes:\n";
  for (const ExitCodeRow& row : kExitCodes) absl::StrAppendFormat(&help, "  %2d  %s\n", row.code, row.meaning);
  return help;
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (!IsFromServer(status)) {
    const std::string reason = ReasonOf(status);
    for (const ReasonRow& row : kByLocalReason) {
      if (row.reason == reason) return row.exit;
    }
  }
  for (const StatusRow& row : kByStatus) {
    if (row.status == status.code()) return row.exit;
  }
  return ExitCode::kInternal;
}

ExitCode ExitCodeOf(v1::QuantJob::State state) {
  switch (state) {
    case v1::QuantJob::FAILED:
      return ExitCode::kJobFailed;
    case v1::QuantJob::CANCELLED:
      return ExitCode::kJobCancelled;
    case v1::QuantJob::REJECTED:
      return ExitCode::kJobRejected;
    default:
      return ExitCode::kOk;
  }
}

}  // namespace quantd
