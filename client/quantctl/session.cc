#include "client/quantctl/session.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>

#include "client/proto_json.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "proto/job_state.h"

namespace quantd {

QuantdClient& Session::client() {
  if (client_ == nullptr) {
    client_ = std::make_unique<QuantdClient>(ClientOptions{
        .server = server, .tenant = tenant, .timeout = absl::Seconds(timeout_seconds), .channel = nullptr});
  }
  return *client_;
}

void Session::Print(const std::string& text) const {
  std::cout << text << std::flush;
}

absl::Status Session::PrintJson(const google::protobuf::Message& message) const {
  std::string text;
  RETURN_IF_ERROR(MessageToJson(message, JsonStyle::kIndented, &text));
  Print(text);
  return absl::OkStatus();
}

ProgressStyle Session::progress_style() const {
  ProgressStyle style;
  const char* const terminal = std::getenv("TERM");
  style.is_terminal = isatty(STDERR_FILENO) == 1 && terminal != nullptr && std::string(terminal) != "dumb";
  winsize size = {};
  if (style.is_terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) style.width = size.ws_col;
  return style;
}

void Session::Note(const std::string& text) const {
  if (!json) std::cerr << text << std::flush;
}

}  // namespace quantd
