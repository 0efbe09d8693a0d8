// Log lines on stderr: JSON objects for machines, plain text on a terminal.
//
//   Log(Severity::kInfo, "lease_expired", {{"job", name}, {"worker", id}}, "requeued after 15 s without a heartbeat");
//
// `event` is a stable snake_case word to search for. Thread-safe. Never log tokens, credentials or calibration text.
#ifndef QUANTD_CORE_BASE_LOGGING_H_
#define QUANTD_CORE_BASE_LOGGING_H_

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace quantd {

enum class Severity { kDebug, kInfo, kWarning, kError };

using LogField = std::pair<absl::string_view, std::string>;

void Log(Severity severity, absl::string_view event, std::initializer_list<LogField> fields,
         absl::string_view message = "");

// Lines below `severity` are dropped. Default: kInfo.
void SetMinimumSeverity(Severity severity);

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_LOGGING_H_
