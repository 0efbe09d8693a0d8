// When a broken stream is tried again. One object a stream; the caller resumes where it stopped.
#ifndef QUANTD_CLIENT_RECONNECT_H_
#define QUANTD_CLIENT_RECONNECT_H_

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantd {

class Reconnect {
 public:
  // Gives up after `longest_outage` without a message; before the first message after five attempts, so that a server
  // that was never there is reported at once.
  explicit Reconnect(absl::Duration longest_outage) : longest_outage_(longest_outage) {}

  // A message came: the connection works.
  void Progress();

  // True, after a pause, when the stream should be opened again: it broke with UNAVAILABLE, ran into its own deadline,
  // or ended early with OK (a draining server). The pauses double from 0.2 s to 3 s, with 20 % jitter.
  bool WaitAfter(const absl::Status& status);

 private:
  absl::Duration longest_outage_;
  absl::Time last_progress_ = absl::InfinitePast();
  int failures_ = 0;  // since the last message
};

}  // namespace quantd

#endif  // QUANTD_CLIENT_RECONNECT_H_
