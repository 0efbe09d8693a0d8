#include "server/store/sqlite_connection.h"

#include <sqlite3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {
namespace {

struct ErrorKind {
  int primary_code;
  absl::StatusCode code;
  const char* reason;
  const char* remedy;
};

constexpr ErrorKind kErrorKinds[] = {
    {SQLITE_CONSTRAINT, absl::StatusCode::kInternal, "STORE_CONSTRAINT",
     "this is a defect of quantd, please report it"},
    {SQLITE_FULL, absl::StatusCode::kResourceExhausted, "DISK_FULL", "free some space on the data directory's disk"},
    {SQLITE_BUSY, absl::StatusCode::kUnavailable, "STORE_BUSY", "retry"},
    {SQLITE_CORRUPT, absl::StatusCode::kDataLoss, "STORE_CORRUPT", "restore the data directory from a backup"},
    {SQLITE_NOTADB, absl::StatusCode::kDataLoss, "STORE_CORRUPT", "restore the data directory from a backup"},
};

ErrorKind KindOf(int code) {
  for (const ErrorKind& kind : kErrorKinds) {
    if (kind.primary_code == (code & 0xFF)) return kind;
  }
  return {code, absl::StatusCode::kUnavailable, "STORE_FAILED", "check the disk, then restart quantd"};
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_),
      statement_(std::exchange(other.statement_, nullptr)),
      code_(other.code_),
      cached_(other.cached_) {}

Statement::~Statement() {
  if (statement_ == nullptr) return;
  if (!cached_) {
    sqlite3_finalize(statement_);
    return;
  }
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void Statement::Keep(int code) {
  if (code_ == SQLITE_OK) code_ = code;
}

Statement& Statement::Bind(int index, int64_t value) {
  Keep(sqlite3_bind_int64(statement_, index, value));
  return *this;
}

Statement& Statement::BindText(int index, absl::string_view value) {
  Keep(sqlite3_bind_text64(statement_, index, value.data() == nullptr ? "" : value.data(), value.size(),
                           SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::BindBlob(int index, absl::string_view value) {
  Keep(sqlite3_bind_blob64(statement_, index, value.data() == nullptr ? "" : value.data(), value.size(),
                           SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::BindNull(int index) {
  Keep(sqlite3_bind_null(statement_, index));
  return *this;
}

Statement& Statement::BindOptional(int index, std::optional<int64_t> value) {
  return value.has_value() ? Bind(index, *value) : BindNull(index);
}

absl::StatusOr<bool> Statement::Step() {
  if (code_ != SQLITE_OK) return connection_->StatusOf(code_);
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  code_ = code;
  return connection_->StatusOf(code);
}

absl::Status Statement::Run() {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return absl::OkStatus();
  }
}

int64_t Statement::Int(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::optional<int64_t> Statement::OptionalInt(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return Int(column);
}

std::string Statement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), static_cast<size_t>(size));
}

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path, bool read_only) {
  sqlite3* handle = nullptr;
  const int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(handle, path));
  if (code != SQLITE_OK) return connection->StatusOf(code);
  sqlite3_busy_timeout(handle, 5000);
  if (read_only) sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  return connection;
}

SqliteConnection::~SqliteConnection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

Statement SqliteConnection::Prepare(const std::string& sql) {
  sqlite3_stmt*& statement = statements_[sql];
  int code = SQLITE_OK;
  if (statement == nullptr) {
    code = sqlite3_prepare_v3(handle_, sql.c_str(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement,
                              nullptr);
  }
  return Statement(this, statement, code, /*cached=*/true);
}

Statement SqliteConnection::PrepareOnce(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(handle_, sql.c_str(), static_cast<int>(sql.size()), &statement, nullptr);
  return Statement(this, statement, code, /*cached=*/false);
}

absl::Status SqliteConnection::Execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : StatusOf(code);
}

int64_t SqliteConnection::changes() const {
  return sqlite3_changes64(handle_);
}

int64_t SqliteConnection::last_insert_rowid() const {
  return sqlite3_last_insert_rowid(handle_);
}

bool SqliteConnection::in_transaction() const {
  return sqlite3_get_autocommit(handle_) == 0;
}

absl::Status SqliteConnection::StatusOf(int code) const {
  const ErrorKind kind = KindOf(code);
  const char* text = handle_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle_);
  return ReasonError(kind.code, kind.reason,
                     absl::StrCat(path_, ": ", text, " (SQLite code ", code, "); ", kind.remedy));
}

absl::StatusOr<Transaction> Transaction::Begin(SqliteConnection& connection, const char* how) {
  RETURN_IF_ERROR(connection.Prepare(how).Run());
  return Transaction(&connection);
}

Transaction::Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}

Transaction::~Transaction() {
  if (connection_ != nullptr && connection_->in_transaction()) (void)connection_->Execute("ROLLBACK");
}

absl::Status Transaction::Commit() {
  return connection_->Prepare("COMMIT").Run();
}

}  // namespace quantd
