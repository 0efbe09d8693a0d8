#include "server/store/postgres_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/store/postgres_errors.h"
#include "server/store/postgres_presence.h"
#include "server/store/postgres_statement.h"

namespace quantd {
namespace {

// What a server must promise so that "committed" means "on disk", and what the tables need.
struct Requirement {
  const char* setting;
  std::vector<const char*> allowed;
  const char* remedy;
};

const std::vector<Requirement>& Requirements() {
  static const auto& rows = *new std::vector<Requirement>{
      {"synchronous_commit", {"on", "remote_apply"}, "set it to on for quantd's role or database"},
      {"fsync", {"on"}, "turn it on: jobs would not survive a power failure"},
      {"full_page_writes", {"on"}, "turn it on: the database would not survive a power failure"},
      {"server_encoding", {"UTF8"}, "create the database with ENCODING 'UTF8' TEMPLATE template0"},
  };
  return rows;
}

constexpr int kOldestServer = 150'000;  // 15

absl::Status Unsuitable(const std::string& what, absl::string_view remedy) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "STORE_UNSUITABLE",
                     absl::StrFormat("the PostgreSQL server %s; %s", what, remedy));
}

absl::Status CheckSetting(const Requirement& requirement, const std::string& value) {
  std::string wanted;
  for (const char* allowed : requirement.allowed) {
    if (value == allowed) return absl::OkStatus();
    absl::StrAppend(&wanted, wanted.empty() ? "" : " or ", allowed);
  }
  return Unsuitable(absl::StrFormat("has %s=%s, and quantd needs %s", requirement.setting, value, wanted),
                    requirement.remedy);
}

// Notices ("table does not exist, skipping") would go to stderr.
void IgnoreNotice(void*, const pg_result*) {}

}  // namespace

void FreePostgresResult::operator()(pg_result* result) const {
  PQclear(result);
}

absl::StatusOr<std::unique_ptr<PostgresConnection>> PostgresConnection::Connect(const PostgresDsn& dsn,
                                                                                const PostgresSession& session) {
  std::vector<const char*> keywords, values;
  for (const auto& [keyword, value] : dsn.parameters()) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  pg_conn* handle = PQconnectdbParams(keywords.data(), values.data(), /*expand_dbname=*/0);
  if (handle == nullptr) return absl::ResourceExhaustedError("no memory for a database connection");
  std::unique_ptr<PostgresConnection> connection(new PostgresConnection(handle, dsn, session));
  if (PQstatus(handle) != CONNECTION_OK) {
    const std::string message(absl::StripAsciiWhitespace(dsn.Scrub(PQerrorMessage(handle))));
    return ReasonError(absl::StatusCode::kUnavailable, "STORE_FAILED",
                       absl::StrFormat("PostgreSQL (%s) cannot be reached: %s", dsn.hidden_text(), message));
  }
  PQsetNoticeReceiver(handle, &IgnoreNotice, nullptr);
  RETURN_IF_ERROR(connection->ConfigureSession());
  RETURN_IF_ERROR(connection->CheckServer());
  return connection;
}

PostgresConnection::~PostgresConnection() {
  PQfinish(handle_);
}

absl::Status PostgresConnection::ConfigureSession() {
  const int64_t statement_ms = absl::ToInt64Milliseconds(session_.statement_timeout);
  // A server of quantd that froze within a transaction must not hold its locks for ever.
  return Query(absl::StrFormat("SET statement_timeout = %d; SET lock_timeout = %d; SET bytea_output = 'hex'; "
                               "SET idle_in_transaction_session_timeout = %d",
                               statement_ms, absl::ToInt64Milliseconds(session_.lock_timeout), statement_ms))
      .status();
}

absl::Status PostgresConnection::CheckServer() {
  if (PQserverVersion(handle_) < kOldestServer) {
    return Unsuitable(absl::StrFormat("has version %d", PQserverVersion(handle_) / 10'000),
                      "15 is the oldest that will do");
  }
  std::string sql =
      absl::StrCat("SELECT pg_postmaster_start_time()::text || ' ' || (SELECT stats_reset::text FROM pg_stat_wal), ",
                   session_.of_server ? BeServerSql() : "true");
  for (const Requirement& requirement : Requirements()) {
    absl::StrAppend(&sql, ", current_setting('", requirement.setting, "')");
  }
  ASSIGN_OR_RETURN(const PostgresResult result, Query(sql));
  // Statistics begin anew after a crash, also after one that the postmaster itself survived.
  instance_ = PQgetvalue(result.get(), 0, 0);
  if (absl::string_view(PQgetvalue(result.get(), 0, 1)) != "t") return DatabaseInRepair();
  int column = 1;
  for (const Requirement& requirement : Requirements()) {
    RETURN_IF_ERROR(CheckSetting(requirement, PQgetvalue(result.get(), 0, ++column)));
  }
  return absl::OkStatus();
}

std::unique_ptr<SqlStatement> PostgresConnection::Prepare(const std::string& sql) {
  return std::make_unique<PostgresStatement>(*this, sql, /*cached=*/true);
}

std::unique_ptr<SqlStatement> PostgresConnection::PrepareOnce(const std::string& sql) {
  return std::make_unique<PostgresStatement>(*this, sql, /*cached=*/false);
}

absl::Status PostgresConnection::Execute(const std::string& sql) {
  return Query(sql).status();
}

absl::StatusOr<PostgresResult> PostgresConnection::Query(const std::string& sql) {
  return Receive(PQsendQuery(handle_, sql.c_str()));
}

absl::StatusOr<PostgresResult> PostgresConnection::Receive(int sent) {
  const absl::Time deadline = absl::Now() + session_.answer_timeout;
  PostgresResult last;
  bool failed = false;
  while (sent != 0) {
    if (!AwaitResult(deadline)) return Fail(nullptr);
    PostgresResult next(PQgetResult(handle_));
    if (next == nullptr) break;
    // After an error the rest of a list of statements is skipped.
    if (!failed) last = std::move(next);
    const ExecStatusType status = PQresultStatus(last.get());
    failed = status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK;
  }
  if (failed || last == nullptr) return Fail(last.get());
  return last;
}

bool PostgresConnection::AwaitResult(absl::Time deadline) {
  while (true) {
    const int unsent = PQflush(handle_);
    if (unsent < 0) return false;
    if (unsent == 0 && PQisBusy(handle_) == 0) return true;
    if (!WaitForSocket(deadline) || PQconsumeInput(handle_) == 0) return false;
  }
}

bool PostgresConnection::WaitForSocket(absl::Time deadline) {
  const int64_t left_ms = absl::ToInt64Milliseconds(deadline - absl::Now());
  pollfd fd = {PQsocket(handle_), static_cast<short>(POLLIN | (PQflush(handle_) == 1 ? POLLOUT : 0)), 0};
  if (left_ms <= 0) return false;
  return poll(&fd, 1, static_cast<int>(left_ms)) > 0 || errno == EINTR;
}

absl::Status PostgresConnection::Fail(const pg_result* result) {
  // Without a result there was no answer.
  const char* sqlstate = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* primary = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const PostgresErrorKind& kind = PostgresErrorKindOf(sqlstate == nullptr ? "" : sqlstate);
  if (kind.fate == PostgresFate::kLost || PQstatus(handle_) != CONNECTION_OK) lost_ = true;
  if (kind.fate == PostgresFate::kConflict) conflict_ = true;
  std::string message = dsn_.Scrub(primary == nullptr ? PQerrorMessage(handle_) : primary);
  if (message.empty()) message = "the server does not answer";
  const absl::Status status = PostgresError(kind, message);
  first_error_.Update(status);
  return status;
}

absl::Status PostgresConnection::BeginWrite() {
  first_error_ = absl::OkStatus();
  conflict_ = false;
  ASSIGN_OR_RETURN(const PostgresResult result,
                   Query("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_current_xact_id()::text"));
  transaction_ = {PQgetvalue(result.get(), 0, 0), instance_};
  return absl::OkStatus();
}

absl::Status PostgresConnection::BeginRead() {
  first_error_ = absl::OkStatus();
  conflict_ = false;
  return Query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").status();
}

absl::Status PostgresConnection::Commit() {
  ASSIGN_OR_RETURN(const PostgresResult result, Query("COMMIT"));  // Durable step: the caller's.
  // Durable step: the caller's.
  // A transaction with a failed statement is rolled back by its COMMIT, without an error.
  if (absl::string_view(PQcmdStatus(result.get())) == "COMMIT") return absl::OkStatus();
  first_error_.Update(absl::InternalError("PostgreSQL rolled a transaction back instead of committing it"));
  return first_error_;
}

void PostgresConnection::Rollback() {
  const bool conflict = conflict_;
  if (!lost_ && !Query("ROLLBACK").ok()) lost_ = true;
  conflict_ = conflict;
}

int PostgresConnection::socket() const {
  return PQsocket(handle_);
}

bool PostgresConnection::ReadNotifications(bool& notified) {
  if (PQconsumeInput(handle_) == 0) lost_ = true;
  while (pgNotify* notification = PQnotifies(handle_)) {
    if (notification->be_pid != PQbackendPID(handle_)) notified = true;
    PQfreemem(notification);
  }
  return !lost_;
}

absl::StatusOr<absl::Time> PostgresConnection::ServerTime() {
  ASSIGN_OR_RETURN(const PostgresResult result,
                   Query("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"));
  int64_t micros = 0;
  if (!absl::SimpleAtoi(PQgetvalue(result.get(), 0, 0), &micros)) {
    return absl::InternalError("PostgreSQL gave a time that is no number");
  }
  return absl::FromUnixMicros(micros);
}

}  // namespace quantd
