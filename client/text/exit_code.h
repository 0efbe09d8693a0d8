// Exit codes of quantctl. Stable: scripts depend on them. docs/quantctl.md has the same table.
#ifndef QUANTD_CLIENT_TEXT_EXIT_CODE_H_
#define QUANTD_CLIENT_TEXT_EXIT_CODE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "quantd/v1/quant_job.pb.h"

namespace quantd {

enum class ExitCode {
  kOk = 0,
  kJobFailed = 1,
  kUsage = 2,
  kInvalidRequest = 3,
  kNotFound = 4,
  kUnavailable = 5,
  kJobCancelled = 6,
  kJobRejected = 7,
  kConflict = 8,
  kExhausted = 9,
  kLocalFile = 10,
  kInternal = 11,
};

struct ExitCodeRow {
  ExitCode code;
  const char* meaning;
};

// One row a code, ascending.
absl::Span<const ExitCodeRow> ExitCodes();

// The table as text for --help, two columns.
std::string ExitCodeHelp();

// Of a failed call. Errors of the local disk and bad arguments are told apart from the server's by their origin.
ExitCode ExitCodeOf(const absl::Status& status);

// Of a job that was waited for; kOk while it is not terminal.
ExitCode ExitCodeOf(v1::QuantJob::State state);

}  // namespace quantd

#endif  // QUANTD_CLIENT_TEXT_EXIT_CODE_H_
