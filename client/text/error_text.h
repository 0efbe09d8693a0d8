// Errors as a person at a shell reads them: what failed, the reason, what to do.
#ifndef QUANTD_CLIENT_TEXT_ERROR_TEXT_H_
#define QUANTD_CLIENT_TEXT_ERROR_TEXT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "quantd/v1/quant_job.pb.h"

namespace quantd {

// Several lines, the last ending with a newline:
//   quantctl submit: unknown parameter 'bitz'; nearest: 'bits'
//     reason  RECIPE_UNKNOWN_PARAMETER (INVALID_ARGUMENT)
//     field   recipe.overrides.bitz
//     hint    `quantctl recipes NAME` shows every parameter with its type, default and range
// Control characters of a message are escaped: what a server sends must not steer the terminal.
std::string ErrorText(absl::string_view command, const absl::Status& status);

// {"error": {"code", "reason", "field", "message"}} on one line, for --json.
std::string ErrorJson(const absl::Status& status);

// Why a job FAILED, with the end of its log; empty for other jobs.
std::string FailureText(const v1::QuantJob& job);

// `text` with control characters other than tab and newline as \xNN.
std::string Printable(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_CLIENT_TEXT_ERROR_TEXT_H_
