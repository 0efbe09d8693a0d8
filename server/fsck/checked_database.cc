#include "server/fsck/checked_database.h"

#include <utility>

#include "core/base/clock.h"
#include "core/base/status.h"
#include "server/store/data_directory.h"
#include "server/store/postgres_connection.h"
#include "server/store/postgres_dsn.h"
#include "server/store/postgres_presence.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_schema.h"
#include "server/store/visit_database.h"

namespace quantd {
namespace {

class CheckedSqlite : public CheckedDatabase {
 public:
  CheckedSqlite(DataDirectory lock, std::unique_ptr<SqliteConnection> connection)
      : lock_(std::move(lock)), connection_(std::move(connection)) {}

  void CheckPages(FsckReport& report) override {
    // SQLite may fail on a damaged file before it can say where.
    const absl::Status whole = IntegrityCheck(report);
    if (!whole.ok()) report.Add("DATABASE_DAMAGED", "quantd.db", whole.message());
  }

  absl::Status Read(const SqlBody& body) override { return body(*connection_); }

  absl::Status Repair(const SqlBody& body) override {
    RETURN_IF_ERROR(connection_->Execute("BEGIN IMMEDIATE"));
    const absl::Status status = body(*connection_);
    // No durable step: whoever repairs looks at the result, and repeats it.
    if (status.ok()) return connection_->Execute("COMMIT");
    (void)connection_->Execute("ROLLBACK");
    return status;
  }

  bool servers_running() const override { return false; }

 private:
  absl::Status IntegrityCheck(FsckReport& report) {
    const auto query = connection_->PrepareOnce("PRAGMA integrity_check");
    while (true) {
      ASSIGN_OR_RETURN(const bool row, query->Step());
      if (!row) return absl::OkStatus();
      if (query->Bytes(0) != "ok") report.Add("DATABASE_DAMAGED", "quantd.db", query->Bytes(0));
    }
  }

  const DataDirectory lock_;
  const std::unique_ptr<SqliteConnection> connection_;
};

class CheckedPostgres : public CheckedDatabase {
 public:
  // `exclusion`: null, or the session that keeps servers away.
  CheckedPostgres(std::unique_ptr<SqlDatabase> database, std::unique_ptr<PostgresConnection> exclusion,
                  bool servers_running)
      : database_(std::move(database)), exclusion_(std::move(exclusion)), servers_running_(servers_running) {}

  // PostgreSQL gives nobody but its superuser a look at its files.
  void CheckPages(FsckReport&) override {}
  absl::Status Read(const SqlBody& body) override { return database_->Read(body); }
  absl::Status Repair(const SqlBody& body) override { return database_->Write(DurableStep::kHousekeeping, body); }
  bool servers_running() const override { return servers_running_; }

 private:
  const std::unique_ptr<SqlDatabase> database_;
  const std::unique_ptr<PostgresConnection> exclusion_;
  const bool servers_running_;
};

absl::StatusOr<std::unique_ptr<PostgresConnection>> HaveForOneself(const std::string& dsn) {
  ASSIGN_OR_RETURN(const PostgresDsn parsed, PostgresDsn::Parse(dsn));
  ASSIGN_OR_RETURN(auto connection, PostgresConnection::Connect(parsed, {.of_server = false}));
  RETURN_IF_ERROR(ExcludeServers(*connection));
  return connection;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckedDatabase>> OpenCheckedSqlite(const std::string& data_directory) {
  ASSIGN_OR_RETURN(const std::string path, FindSqliteFile(data_directory));
  ASSIGN_OR_RETURN(DataDirectory lock, DataDirectory::Open(data_directory));
  ASSIGN_OR_RETURN(auto connection, SqliteConnection::Open(path, /*read_only=*/false));
  RETURN_IF_ERROR(CheckOwner(*connection, path));
  RETURN_IF_ERROR(CheckSqliteVersion(*connection, path));
  RETURN_IF_ERROR(ConfigureWriter(*connection));
  return std::make_unique<CheckedSqlite>(std::move(lock), std::move(connection));
}

absl::StatusOr<std::unique_ptr<CheckedDatabase>> OpenCheckedPostgres(const std::string& dsn, bool repair) {
  ASSIGN_OR_RETURN(std::unique_ptr<SqlDatabase> database, VisitDatabase({.dsn = dsn, .clock = RealClock()}));
  std::unique_ptr<PostgresConnection> exclusion;
  if (repair) {
    ASSIGN_OR_RETURN(exclusion, HaveForOneself(dsn));
  }
  int64_t sessions = 0;
  const auto count = [&](SqlConnection& connection) -> absl::Status {
    ASSIGN_OR_RETURN(sessions, CountServerSessions(connection));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(database->Read(count));
  return std::make_unique<CheckedPostgres>(std::move(database), std::move(exclusion), sessions > 0);
}

}  // namespace quantd
