#include "server/store/postgres_pool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/store/backoff.h"

namespace quantd {
namespace {

constexpr BackoffLimits kReconnect = {absl::Milliseconds(50), absl::Seconds(5)};

}  // namespace

PostgresPool::PostgresPool(PostgresDsn dsn, PostgresPoolOptions options, DatabaseClock& clock)
    : dsn_(std::move(dsn)), options_(options), clock_(clock) {}

absl::StatusOr<PostgresPool::Lease> PostgresPool::Take() {
  const absl::Time deadline = RealClock().Now() + options_.patience;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    ASSIGN_OR_RETURN(Lease lease, TryTake(lock));
    if (lease != nullptr) return lease;
    const absl::Time now = RealClock().Now();
    if (now >= deadline) return Exhausted();
    const absl::Time until = failures_ > 0 && !connecting_ ? std::min(deadline, next_attempt_) : deadline;
    changed_.wait_for(lock, absl::ToChronoNanoseconds(until - now));
  }
}

// Null when there is nothing to do but wait.
absl::StatusOr<PostgresPool::Lease> PostgresPool::TryTake(std::unique_lock<std::mutex>& lock) {
  while (!idle_.empty()) {
    Idle idle = std::move(idle_.back());
    idle_.pop_back();
    if (idle.generation == generation_) return Lease(idle.connection.release(), GiveBack{this, generation_});
    --open_;
  }
  const bool must_wait = failures_ > 0 && (connecting_ || RealClock().Now() < next_attempt_);
  if (open_ >= options_.size || must_wait) return Lease();
  ++open_;
  connecting_ = true;
  const int64_t generation = generation_;
  lock.unlock();
  auto connection = Connect();
  lock.lock();
  connecting_ = false;
  changed_.notify_all();
  if (connection.ok()) return Lease(connection->release(), GiveBack{this, generation});
  --open_;
  // What waiting does not cure.
  if (ReasonOf(connection.status()) == "STORE_UNSUITABLE") return connection.status();
  return Lease();
}

absl::StatusOr<std::unique_ptr<PostgresConnection>> PostgresPool::Connect() {
  auto connection = PostgresConnection::Connect(dsn_, options_.session);
  absl::Status status = connection.status();
  if (connection.ok()) {
    const auto asked = DatabaseClock::Steady::now();
    const auto time = (*connection)->ServerTime();
    status = time.status();
    if (time.ok()) clock_.Sample(asked, DatabaseClock::Steady::now(), *time);
  }
  NoteConnect(status);
  if (!status.ok()) return status;
  return connection;
}

void PostgresPool::NoteConnect(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (status.ok()) {
    if (failures_ > 0) Log(Severity::kInfo, "store_reached", {{"attempts", std::to_string(failures_ + 1)}});
    failures_ = 0;
    return;
  }
  if (++failures_ == 1) Log(Severity::kError, "store_unreachable", {{"reason", ReasonOf(status)}}, status.message());
  last_error_ = status;
  next_attempt_ = RealClock().Now() + BackoffAfter(failures_, kReconnect);
}

void PostgresPool::Return(PostgresConnection* connection, int64_t generation) {
  Idle idle{std::unique_ptr<PostgresConnection>(connection), generation};
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!connection->lost()) {
    idle_.push_back(std::move(idle));
  } else {
    --open_;
    if (generation == generation_) ++generation_;
  }
  changed_.notify_one();
}

absl::Status PostgresPool::Exhausted() const {
  if (failures_ > 0) return last_error_;
  return ReasonError(absl::StatusCode::kUnavailable, "STORE_BUSY",
                     absl::StrFormat("all %d database connections have been busy for %s; retry, or raise "
                                     "store_connections",
                                     options_.size, absl::FormatDuration(options_.patience)));
}

bool PostgresPool::reachable() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return failures_ == 0;
}

}  // namespace quantd
