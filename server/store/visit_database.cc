#include "server/store/visit_database.h"

#include <mutex>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/file_system.h"
#include "core/base/status.h"
#include "server/store/postgres_database.h"
#include "server/store/postgres_schema.h"
#include "server/store/sql_schema.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_schema.h"

namespace quantd {
namespace {

// A look reads whole tables, which the limits of a server's short transactions would cut off.
constexpr absl::Duration kPatience = absl::Minutes(30);

class SqliteVisit : public SqlDatabase {
 public:
  SqliteVisit(std::unique_ptr<SqliteConnection> connection, Clock& clock)
      : connection_(std::move(connection)), clock_(clock) {}

  SqlDialect dialect() const override { return SqlDialect::kSqlite; }

  absl::Status Read(const SqlBody& body) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    RETURN_IF_ERROR(connection_->Execute("BEGIN"));
    const absl::Status status = body(*connection_);
    // No durable step: nothing was written.
    if (connection_->in_transaction()) RETURN_IF_ERROR(connection_->Execute("COMMIT"));
    return status;
  }

  absl::Status Write(DurableStep, const SqlBody&) override {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "STORE_READ_ONLY", "the database is only looked at here");
  }

  absl::Time Now() override { return clock_.Now(); }
  bool writable() const override { return false; }

 private:
  std::mutex mutex_;
  const std::unique_ptr<SqliteConnection> connection_;  // guarded by mutex_
  Clock& clock_;
};

absl::StatusOr<std::unique_ptr<SqlDatabase>> VisitSqlite(const VisitOptions& options) {
  ASSIGN_OR_RETURN(const std::string path, FindSqliteFile(options.data_directory));
  ASSIGN_OR_RETURN(auto connection, SqliteConnection::Open(path, /*read_only=*/true));
  RETURN_IF_ERROR(CheckOwner(*connection, path));
  RETURN_IF_ERROR(CheckSqliteVersion(*connection, path));
  RETURN_IF_ERROR(ConfigureReader(*connection));
  return std::make_unique<SqliteVisit>(std::move(connection), options.clock);
}

absl::StatusOr<std::unique_ptr<SqlDatabase>> VisitPostgres(const std::string& dsn) {
  PostgresOptions postgres = {.dsn = dsn};
  postgres.pool.session = {.statement_timeout = kPatience, .answer_timeout = kPatience, .of_server = false};
  ASSIGN_OR_RETURN(std::unique_ptr<SqlDatabase> database, ConnectPostgresDatabase(postgres));
  const auto check = [](SqlConnection& connection) { return CheckPostgresSchema(connection, kSchemaVersion); };
  RETURN_IF_ERROR(database->Read(check));
  return database;
}

}  // namespace

absl::StatusOr<std::string> FindSqliteFile(const std::string& data_directory) {
  const std::string path = JoinPath(data_directory, "quantd.db");
  if (RealFileSystem().Exists(path)) return path;
  return ReasonError(absl::StatusCode::kNotFound, "DATABASE_MISSING",
                     absl::StrFormat("%s is not there; name the directory of a quantd with --data-dir", path));
}

absl::Status CheckSqliteVersion(SqliteConnection& connection, const std::string& path) {
  ASSIGN_OR_RETURN(const int64_t version, connection.QueryInt("PRAGMA user_version"));
  if (version == kSchemaVersion) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kFailedPrecondition, "DATA_DIRECTORY_OLD",
                     absl::StrFormat("%s has schema %d, this quantd looks at %d; start quantd on the directory once, "
                                     "which upgrades it",
                                     path, version, kSchemaVersion));
}

absl::StatusOr<std::unique_ptr<SqlDatabase>> VisitDatabase(const VisitOptions& options) {
  return options.dsn.empty() ? VisitSqlite(options) : VisitPostgres(options.dsn);
}

}  // namespace quantd
