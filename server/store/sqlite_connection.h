// A thin, exception-free layer over SQLite: statements that cannot leak, results as statuses.
//
//   Statement insert = connection.Prepare("INSERT INTO t VALUES (?1, ?2)");
//   insert.Bind(1, id).Bind(2, name);
//   RETURN_IF_ERROR(insert.Run());
//
// Not thread-safe: the owner serializes all use of a connection and its statements.
#ifndef QUANTD_SERVER_STORE_SQLITE_CONNECTION_H_
#define QUANTD_SERVER_STORE_SQLITE_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace quantd {

class SqliteConnection;

// One use of a prepared statement. Binding and stepping errors are kept and returned by Step or Run.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Parameters count from 1. Text and blobs are copied.
  Statement& Bind(int index, int64_t value);
  Statement& BindText(int index, absl::string_view value);
  Statement& BindBlob(int index, absl::string_view value);
  Statement& BindNull(int index);
  Statement& BindOptional(int index, std::optional<int64_t> value);

  // True: a row is there. False: the end.
  absl::StatusOr<bool> Step();
  // Steps to the end.
  absl::Status Run();

  // Columns of the current row count from 0; NULL gives 0, "" and nullopt.
  int64_t Int(int column) const;
  std::optional<int64_t> OptionalInt(int column) const;
  std::string Bytes(int column) const;

 private:
  friend class SqliteConnection;
  Statement(SqliteConnection* connection, sqlite3_stmt* statement, int code, bool cached)
      : connection_(connection), statement_(statement), code_(code), cached_(cached) {}
  void Keep(int code);

  SqliteConnection* connection_;
  sqlite3_stmt* statement_;
  int code_;     // first error, SQLITE_OK so far
  bool cached_;  // the connection keeps it for the next use
};

class SqliteConnection {
 public:
  // Creates the file when absent (unless `read_only`). `path` ":memory:" is allowed.
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(const std::string& path, bool read_only);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // `sql` is a string literal: compiled once and cached.
  Statement Prepare(const std::string& sql);
  // For SQL that varies with a request, so that the cache stays small: compiled anew each time.
  Statement PrepareOnce(const std::string& sql);
  // Several statements without parameters or results.
  absl::Status Execute(const std::string& sql);
  // Rows changed by the last INSERT, UPDATE or DELETE.
  int64_t changes() const;
  int64_t last_insert_rowid() const;
  bool in_transaction() const;

  // The status of a SQLite result code with this connection's message. Reasons: DISK_FULL, STORE_BUSY,
  // STORE_CORRUPT, STORE_CONSTRAINT, STORE_FAILED.
  absl::Status StatusOf(int code) const;

 private:
  friend class Statement;
  SqliteConnection(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

  sqlite3* handle_;
  std::string path_;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

// Rolls back unless Commit() was reached.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(SqliteConnection& connection, const char* how = "BEGIN IMMEDIATE");
  Transaction(Transaction&& other) noexcept;
  Transaction(const Transaction&) = delete;
  ~Transaction();
  absl::Status Commit();

 private:
  explicit Transaction(SqliteConnection* connection) : connection_(connection) {}
  SqliteConnection* connection_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQLITE_CONNECTION_H_
