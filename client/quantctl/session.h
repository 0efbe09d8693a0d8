// What every subcommand shares: the global options, the connection, the three streams.
#ifndef QUANTD_CLIENT_QUANTCTL_SESSION_H_
#define QUANTD_CLIENT_QUANTCTL_SESSION_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/quantd_client.h"
#include "client/text/exit_code.h"
#include "client/text/progress_view.h"

namespace google::protobuf {
class Message;
}

namespace quantd {

class Session {
 public:
  std::string server = "127.0.0.1:7433";
  std::string tenant = "default";
  double timeout_seconds = 30;
  bool json = false;

  // What the command line asked for; set by the subcommand that was named, run by main.
  std::string command;
  std::function<absl::StatusOr<ExitCode>()> action;

  // Connects at the first call.
  QuantdClient& client();

  // Results go to stdout.
  void Print(const std::string& text) const;
  absl::Status PrintJson(const google::protobuf::Message& message) const;

  // Progress goes to stderr, so that --json leaves stdout to the result.
  ProgressStyle progress_style() const;
  // Something to know that is no result: stderr, left out with --json.
  void Note(const std::string& text) const;

 private:
  std::unique_ptr<QuantdClient> client_;
};

// Shows the job's progress on stderr until it is terminal.
absl::StatusOr<v1::QuantJob> WaitWithProgress(Session& session, const std::string& job);

// The end of --wait and watch: the figures, or why there are none; with --json {"job": ..., "report": ...} on one line.
absl::StatusOr<ExitCode> PrintOutcome(Session& session, const v1::QuantJob& job);

}  // namespace quantd

#endif  // QUANTD_CLIENT_QUANTCTL_SESSION_H_
