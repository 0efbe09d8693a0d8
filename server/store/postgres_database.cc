#include "server/store/postgres_database.h"

#include <thread>
#include <utility>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/store/backoff.h"
#include "server/store/postgres_listener.h"

namespace quantd {
namespace {

constexpr int kMostTries = 12;
constexpr BackoffLimits kTryAgain = {absl::Milliseconds(2), absl::Milliseconds(200)};
// How long a transaction whose COMMIT was not answered may go on before the caller is told that nobody knows.
constexpr absl::Duration kResolveWithin = absl::Seconds(10);
constexpr BackoffLimits kAskAgain = {absl::Milliseconds(5), absl::Milliseconds(250)};

enum class Fate { kCommitted, kRolledBack, kUnknown };

// The end of one try of a transaction.
struct Try {
  absl::Status status;
  bool run_again = false;
};

void Pause(int failures, const BackoffLimits& limits) {
  std::this_thread::sleep_for(absl::ToChronoNanoseconds(BackoffAfter(failures, limits)));
}

absl::Status Unanswered() {
  return ReasonError(absl::StatusCode::kUnavailable, "STORE_BUSY",
                     "the connection to PostgreSQL was lost at a commit, and what became of it cannot be found out; "
                     "repeat the call");
}

class PostgresDatabase : public SqlDatabase {
 public:
  PostgresDatabase(PostgresDsn dsn, const PostgresOptions& options)
      : on_commit_(options.on_commit), pool_(std::move(dsn), options.pool, clock_) {}

  // The first connection, before anything else uses the database.
  absl::Status Start() {
    RETURN_IF_ERROR(pool_.Connect().status());
    listener_ = std::make_unique<PostgresListener>(pool_, clock_);
    return absl::OkStatus();
  }

  SqlDialect dialect() const override { return SqlDialect::kPostgres; }

  absl::Status Read(const SqlBody& body) override {
    return RunAgainWhileUseful([&] { return TryRead(body); });
  }
  absl::Status Write(DurableStep step, const SqlBody& body) override {
    return RunAgainWhileUseful([&] { return TryWrite(step, body); });
  }

  absl::Time Now() override { return clock_.Now(); }
  bool writable() const override { return pool_.reachable(); }
  void NotifyOthers() override { listener_->Notify(); }
  void ListenToOthers(std::function<void()> on_change) override { listener_->SetCallback(std::move(on_change)); }

 private:
  absl::Status RunAgainWhileUseful(const std::function<Try()>& run) {
    for (int tries = 1;; ++tries) {
      Try last = run();
      if (!last.run_again || tries == kMostTries) return last.status;
      Pause(tries, kTryAgain);
    }
  }

  Try TryRead(const SqlBody& body) {
    auto connection = pool_.Take();
    if (!connection.ok()) return {connection.status()};
    absl::Status status = (*connection)->BeginRead();
    if (status.ok()) status = body(**connection);
    if (status.ok()) status = (*connection)->Commit();
    return status.ok() ? Try{} : Abandon(**connection, status);
  }

  Try TryWrite(DurableStep step, const SqlBody& body) {
    auto connection = pool_.Take();
    if (!connection.ok()) return {connection.status()};
    const absl::Time begin = RealClock().Now();
    absl::Status status = (*connection)->BeginWrite();
    if (status.ok()) status = body(**connection);
    if (!status.ok()) return Abandon(**connection, status);
    Try commit;
    bool answered = false;
    const auto commit_once = [&] {
      answered = true;
      commit = Commit(**connection);
      return commit.status;
    };
    status = RunDurableStep(step, commit_once);
    if (!answered) return Abandon(**connection, status);  // a fail point was in the way
    if (status.ok() && on_commit_) on_commit_(absl::ToDoubleSeconds(RealClock().Now() - begin), 1);
    return {status, commit.run_again};
  }

  // Rolls back. Whether a second try is worth it is decided by what the connection has seen; the body may have made
  // another status of it. A guard that missed has seen a row that another transaction then changed.
  Try Abandon(PostgresConnection& connection, const absl::Status& status) {
    const bool run_again = connection.lost() || connection.conflict() || ReasonOf(status) == "STORE_CONFLICT";
    connection.Rollback();
    return {status, run_again};
  }

  Try Commit(PostgresConnection& connection) {
    const PostgresTransaction transaction = connection.transaction();
    const absl::Status status = connection.Commit();
    if (status.ok() || !connection.lost()) return {status, connection.conflict()};
    const Fate fate = FateOf(transaction);
    Log(Severity::kWarning, "commit_unanswered",
        {{"transaction", transaction.number}, {"fate", fate == Fate::kCommitted ? "committed" : "not committed"}});
    if (fate == Fate::kCommitted) return {};
    return fate == Fate::kRolledBack ? Try{status, /*run_again=*/true} : Try{Unanswered()};
  }

  Fate FateOf(const PostgresTransaction& transaction) {
    const absl::Time deadline = RealClock().Now() + kResolveWithin;
    for (int asked = 1; RealClock().Now() < deadline; ++asked) {
      // Not one of the pool's: the lost one still counts there.
      const auto connection = pool_.Connect();
      if (connection.ok()) {
        const std::optional<Fate> fate = Ask(**connection, transaction);
        if (fate.has_value()) return *fate;
      }
      Pause(asked, kAskAgain);
    }
    return Fate::kUnknown;
  }

  // Nothing while the transaction goes on, or the connection fails.
  std::optional<Fate> Ask(PostgresConnection& connection, const PostgresTransaction& transaction) {
    const auto query = connection.PrepareOnce("SELECT pg_xact_status(?1::xid8)");
    query->BindText(1, transaction.number);
    const auto row = query->Step();
    // A number that the server has not given out yet: it crashed before anything of that transaction was on disk.
    if (!row.ok()) return connection.lost() ? std::nullopt : std::make_optional(Fate::kRolledBack);
    const std::string status = query->Bytes(0);
    if (status == "in progress") {
      EndSession(connection, transaction);
      return std::nullopt;
    }
    if (status == "aborted") return Fate::kRolledBack;
    // Numbers are given out again after a crash.
    const bool same_life = connection.instance() == transaction.instance;
    return status == "committed" && same_life ? Fate::kCommitted : Fate::kUnknown;
  }

  // The session that was lost may not have noticed, and wait for the COMMIT for as long as its limits allow.
  void EndSession(PostgresConnection& connection, const PostgresTransaction& transaction) {
    const auto end = connection.PrepareOnce(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE usename = current_user AND backend_xid = (?1::xid8)::xid");
    (void)end->BindText(1, transaction.number).Run();
  }

  const std::function<void(double, int)> on_commit_;
  DatabaseClock clock_;
  PostgresPool pool_;
  std::unique_ptr<PostgresListener> listener_;  // last: uses the pool
};

}  // namespace

absl::StatusOr<std::unique_ptr<SqlDatabase>> ConnectPostgresDatabase(const PostgresOptions& options) {
  ASSIGN_OR_RETURN(PostgresDsn dsn, PostgresDsn::Parse(options.dsn));
  auto database = std::make_unique<PostgresDatabase>(std::move(dsn), options);
  RETURN_IF_ERROR(database->Start());
  return std::unique_ptr<SqlDatabase>(std::move(database));
}

}  // namespace quantd
