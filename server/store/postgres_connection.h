// One session with PostgreSQL as an SqlConnection, with what a transaction's end needs: was the connection lost, is the
// failure one that a second try cures, and which transaction was it.
//
// Parameters are sent in binary with explicit types (a NULL's type is inferred), so ?N means the same as in SQLite;
// results come back as text and are converted where they are read. A result is read whole: queries have a LIMIT.
#ifndef QUANTD_SERVER_STORE_POSTGRES_CONNECTION_H_
#define QUANTD_SERVER_STORE_POSTGRES_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/postgres_dsn.h"
#include "server/store/sql_database.h"

struct pg_conn;
struct pg_result;

namespace quantd {

struct PostgresSession {
  absl::Duration statement_timeout = absl::Seconds(10);
  absl::Duration lock_timeout = absl::Seconds(3);
  // A server that has not answered by then is taken for gone: it may be frozen, and then its own limits do not work.
  absl::Duration answer_timeout = absl::Seconds(15);
  // Says so for as long as the session lasts (postgres_presence.h). False: a program that looks at a server's database.
  bool of_server = true;
};

struct FreePostgresResult {
  void operator()(pg_result* result) const;
};
using PostgresResult = std::unique_ptr<pg_result, FreePostgresResult>;

// Names a transaction for good: numbers begin anew from what is on disk when the server comes back from a crash, so
// `instance` says in which life of the server the number was given.
struct PostgresTransaction {
  std::string number;
  std::string instance;
};

// Used by one thread at a time.
class PostgresConnection : public SqlConnection {
 public:
  // Refuses servers that would acknowledge a commit that is not on disk, or are too old: FAILED_PRECONDITION
  // STORE_UNSUITABLE names the setting. UNAVAILABLE STORE_FAILED when the server cannot be reached or the login fails,
  // STORE_IN_REPAIR while `quantd fsck --repair` has the database for itself.
  static absl::StatusOr<std::unique_ptr<PostgresConnection>> Connect(const PostgresDsn& dsn,
                                                                     const PostgresSession& session);
  ~PostgresConnection() override;
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  SqlDialect dialect() const override { return SqlDialect::kPostgres; }
  std::unique_ptr<SqlStatement> Prepare(const std::string& sql) override;
  std::unique_ptr<SqlStatement> PrepareOnce(const std::string& sql) override;
  absl::Status Execute(const std::string& sql) override;

  // READ COMMITTED: statements wait for row locks and then see what the other has committed; the guards of the
  // statements decide. `transaction()` is known from here on.
  absl::Status BeginWrite();
  // One snapshot for all statements.
  absl::Status BeginRead();
  // An error and lost(): the outcome is unknown. Any other error: rolled back.
  absl::Status Commit();
  void Rollback();

  // The connection is gone: throw it away.
  bool lost() const { return lost_; }
  // A statement of this transaction failed because of another transaction: a second try can succeed.
  bool conflict() const { return conflict_; }
  const PostgresTransaction& transaction() const { return transaction_; }
  const std::string& instance() const { return instance_; }

  // For the thread that listens.
  int socket() const;
  // False when the connection is lost. `notified`: a notification of another session has come since.
  bool ReadNotifications(bool& notified);

  // One round trip.
  absl::StatusOr<absl::Time> ServerTime();

 private:
  friend class PostgresStatement;
  PostgresConnection(pg_conn* handle, const PostgresDsn& dsn, const PostgresSession& session)
      : handle_(handle), dsn_(dsn), session_(session) {}
  absl::Status ConfigureSession();
  absl::Status CheckServer();

  // Runs SQL without parameters; the result of the last statement.
  absl::StatusOr<PostgresResult> Query(const std::string& sql);
  // The last result of what has been sent (`sent`: whether libpq took it), or its error, noted for lost() and
  // conflict().
  absl::StatusOr<PostgresResult> Receive(int sent);
  // Until libpq has a result, or the end of the results; false when the server is gone.
  bool AwaitResult(absl::Time deadline);
  bool WaitForSocket(absl::Time deadline);
  absl::Status Fail(const pg_result* result);

  pg_conn* const handle_;
  const PostgresDsn dsn_;
  const PostgresSession session_;
  std::unordered_map<std::string, std::string> prepared_;  // parameter types and SQL -> name
  std::string instance_;
  PostgresTransaction transaction_;
  absl::Status first_error_;  // of this transaction: later ones only say that it is aborted
  bool lost_ = false;
  bool conflict_ = false;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_POSTGRES_CONNECTION_H_
