// A connection to one SQLite file: statements that cannot leak, results as statuses.
//
//   RETURN_IF_ERROR(connection.Prepare("INSERT INTO t VALUES (?1, ?2)")->Bind(1, id).BindText(2, name).Run());
//
// Not thread-safe: the owner serializes all use of a connection and its statements.
#ifndef QUANTD_SERVER_STORE_SQLITE_CONNECTION_H_
#define QUANTD_SERVER_STORE_SQLITE_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/store/sql_database.h"

struct sqlite3;
struct sqlite3_stmt;

namespace quantd {

class SqliteConnection : public SqlConnection {
 public:
  // Creates the file when absent (unless `read_only`). `vfs` names SQLite's file system; empty: its own.
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(const std::string& path, bool read_only,
                                                                const std::string& vfs = "");
  ~SqliteConnection() override;
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  SqlDialect dialect() const override { return SqlDialect::kSqlite; }
  std::unique_ptr<SqlStatement> Prepare(const std::string& sql) override;
  std::unique_ptr<SqlStatement> PrepareOnce(const std::string& sql) override;
  absl::Status Execute(const std::string& sql) override;
  // The first column of the first row: "PRAGMA user_version".
  absl::StatusOr<int64_t> QueryInt(const std::string& sql);
  absl::StatusOr<std::string> QueryText(const std::string& sql);
  bool in_transaction() const;

  // The status of a SQLite result code with this connection's message. Reasons: DISK_FULL, STORE_BUSY,
  // STORE_CORRUPT, STORE_CONSTRAINT, STORE_FAILED.
  absl::Status StatusOf(int code) const;

  // True after an error that leaves the state of the file unknown: STORE_FAILED, STORE_CORRUPT.
  bool failed() const { return failed_; }

  sqlite3* handle() { return handle_; }

 private:
  SqliteConnection(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

  sqlite3* handle_;
  std::string path_;
  mutable bool failed_ = false;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQLITE_CONNECTION_H_
