#include "server/store/postgres_listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "core/base/status.h"
#include "server/store/backoff.h"

namespace quantd {
namespace {

constexpr absl::Duration kMeasureEvery = absl::Seconds(5);
constexpr BackoffLimits kReconnect = {absl::Milliseconds(50), absl::Seconds(2)};

}  // namespace

PostgresListener::PostgresListener(PostgresPool& pool, DatabaseClock& clock)
    : pool_(pool), clock_(clock), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this] { Run(); }) {}

PostgresListener::~PostgresListener() {
  stopping_ = true;
  eventfd_write(wake_, 1);
  thread_.join();
  close(wake_);
}

void PostgresListener::SetCallback(std::function<void()> on_change) {
  const std::lock_guard<std::mutex> lock(mutex_);
  on_change_ = std::move(on_change);
}

void PostgresListener::Notify() {
  if (!pending_.exchange(true)) eventfd_write(wake_, 1);
}

void PostgresListener::Run() {
  int failures = 0;
  while (!stopping_) {
    const auto connection = pool_.Connect();
    if (connection.ok() && (*connection)->Execute("LISTEN quantd_changes").ok()) {
      failures = 0;
      CallBack();
      Serve(**connection);
    } else {
      WaitFor(-1, BackoffAfter(++failures, kReconnect));
    }
  }
}

void PostgresListener::Serve(PostgresConnection& connection) {
  absl::Time measured = absl::Now();
  while (!stopping_) {
    bool notified = false;
    if (!connection.ReadNotifications(notified)) return;
    if (notified) CallBack();
    if (!SendPending(connection).ok()) return;
    if (absl::Now() - measured >= kMeasureEvery) {
      if (!Measure(connection).ok()) return;
      measured = absl::Now();
      continue;  // a notification may have come with the answer
    }
    WaitFor(connection.socket(), kMeasureEvery);
  }
}

absl::Status PostgresListener::SendPending(PostgresConnection& connection) {
  if (!pending_.exchange(false)) return absl::OkStatus();
  const absl::Status sent = connection.Execute("NOTIFY quantd_changes");
  if (!sent.ok()) pending_ = true;
  return sent;
}

absl::Status PostgresListener::Measure(PostgresConnection& connection) {
  const auto asked = DatabaseClock::Steady::now();
  ASSIGN_OR_RETURN(const absl::Time time, connection.ServerTime());
  clock_.Sample(asked, DatabaseClock::Steady::now(), time);
  return absl::OkStatus();
}

void PostgresListener::WaitFor(int socket, absl::Duration timeout) {
  pollfd fds[] = {{wake_, POLLIN, 0}, {socket, POLLIN, 0}};
  (void)poll(fds, socket < 0 ? 1 : 2, static_cast<int>(absl::ToInt64Milliseconds(timeout)) + 1);
  eventfd_t ignored;
  (void)eventfd_read(wake_, &ignored);
}

void PostgresListener::CallBack() {
  std::function<void()> on_change;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    on_change = on_change_;
  }
  if (on_change) on_change();
}

}  // namespace quantd
