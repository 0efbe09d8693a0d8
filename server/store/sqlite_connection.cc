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

// Text and blobs that SQLite copies; a view without data is empty, not NULL.
const char* DataOf(absl::string_view value) {
  return value.data() == nullptr ? "" : value.data();
}

class SqliteStatement : public SqlStatement {
 public:
  // `cached`: the connection keeps it for the next use.
  SqliteStatement(SqliteConnection& connection, sqlite3_stmt* statement, int code, bool cached)
      : connection_(connection), statement_(statement), code_(code), cached_(cached) {}
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;
  ~SqliteStatement() override {
    if (statement_ == nullptr) return;
    if (!cached_) {
      sqlite3_finalize(statement_);
      return;
    }
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }

  SqlStatement& Bind(int index, int64_t value) override { return Keep(sqlite3_bind_int64(statement_, index, value)); }
  SqlStatement& BindDouble(int index, double value) override {
    return Keep(sqlite3_bind_double(statement_, index, value));
  }
  SqlStatement& BindText(int index, absl::string_view value) override {
    return Keep(sqlite3_bind_text64(statement_, index, DataOf(value), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  }
  SqlStatement& BindBlob(int index, absl::string_view value) override {
    return Keep(sqlite3_bind_blob64(statement_, index, DataOf(value), value.size(), SQLITE_TRANSIENT));
  }
  SqlStatement& BindNull(int index) override { return Keep(sqlite3_bind_null(statement_, index)); }

  absl::StatusOr<bool> Step() override {
    if (code_ != SQLITE_OK) return connection_.StatusOf(code_);
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    code_ = code;
    return connection_.StatusOf(code);
  }

  int64_t Int(int column) const override { return sqlite3_column_int64(statement_, column); }
  double Double(int column) const override { return sqlite3_column_double(statement_, column); }
  std::optional<int64_t> OptionalInt(int column) const override {
    if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
    return Int(column);
  }
  std::string Bytes(int column) const override {
    const void* data = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), static_cast<size_t>(size));
  }
  int64_t changes() const override { return sqlite3_changes64(connection_.handle()); }

 private:
  SqlStatement& Keep(int code) {
    if (code_ == SQLITE_OK) code_ = code;
    return *this;
  }

  SqliteConnection& connection_;
  sqlite3_stmt* const statement_;
  int code_;  // first error, SQLITE_OK so far
  const bool cached_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path, bool read_only,
                                                                         const std::string& vfs) {
  sqlite3* handle = nullptr;
  const int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, vfs.empty() ? nullptr : vfs.c_str());
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

std::unique_ptr<SqlStatement> SqliteConnection::Prepare(const std::string& sql) {
  sqlite3_stmt*& statement = statements_[sql];
  int code = SQLITE_OK;
  if (statement == nullptr) {
    code = sqlite3_prepare_v3(handle_, sql.c_str(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement,
                              nullptr);
  }
  return std::make_unique<SqliteStatement>(*this, statement, code, /*cached=*/true);
}

std::unique_ptr<SqlStatement> SqliteConnection::PrepareOnce(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(handle_, sql.c_str(), static_cast<int>(sql.size()), &statement, nullptr);
  return std::make_unique<SqliteStatement>(*this, statement, code, /*cached=*/false);
}

absl::Status SqliteConnection::Execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : StatusOf(code);
}

absl::StatusOr<int64_t> SqliteConnection::QueryInt(const std::string& sql) {
  const auto query = PrepareOnce(sql);
  RETURN_IF_ERROR(query->Step().status());
  return query->Int(0);
}

absl::StatusOr<std::string> SqliteConnection::QueryText(const std::string& sql) {
  const auto query = PrepareOnce(sql);
  RETURN_IF_ERROR(query->Step().status());
  return query->Bytes(0);
}

bool SqliteConnection::in_transaction() const {
  return sqlite3_get_autocommit(handle_) == 0;
}

absl::Status SqliteConnection::StatusOf(int code) const {
  ErrorKind kind = KindOf(code);
  const bool twice = code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY;
  if (twice) kind.code = absl::StatusCode::kAlreadyExists;
  failed_ =
      failed_ || kind.reason == absl::string_view("STORE_FAILED") || kind.reason == absl::string_view("STORE_CORRUPT");
  const char* text = handle_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle_);
  return ReasonError(kind.code, kind.reason,
                     absl::StrCat(path_, ": ", text, " (SQLite code ", code, "); ", kind.remedy));
}

}  // namespace quantd
