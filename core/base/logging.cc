#include "core/base/logging.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace quantd {
namespace {

constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
std::atomic<Severity> minimum_severity{Severity::kInfo};

std::string TextLine(Severity severity, absl::string_view event, std::initializer_list<LogField> fields,
                     absl::string_view message) {
  std::string line = absl::StrCat(absl::FormatTime("%H:%M:%E3S", absl::Now(), absl::LocalTimeZone()), " ",
                                  kNames[static_cast<int>(severity)], " ", event);
  for (const auto& [key, value] : fields) absl::StrAppend(&line, " ", key, "=", value);
  if (!message.empty()) absl::StrAppend(&line, ": ", message);
  return line + "\n";
}

std::string JsonLine(Severity severity, absl::string_view event, std::initializer_list<LogField> fields,
                     absl::string_view message) {
  nlohmann::json line;
  line["time"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
  line["level"] = kNames[static_cast<int>(severity)];
  line["event"] = std::string(event);
  for (const auto& [key, value] : fields) line[std::string(key)] = value;
  if (!message.empty()) line["message"] = std::string(message);
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

void Log(Severity severity, absl::string_view event, std::initializer_list<LogField> fields,
         absl::string_view message) {
  if (severity < minimum_severity.load(std::memory_order_relaxed)) return;
  static const bool on_terminal = isatty(STDERR_FILENO) != 0;
  const std::string line =
      on_terminal ? TextLine(severity, event, fields, message) : JsonLine(severity, event, fields, message);
  // One write call a line: lines of several threads and processes do not mix.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

void SetMinimumSeverity(Severity severity) {
  minimum_severity = severity;
}

}  // namespace quantd
