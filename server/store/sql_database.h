// What the job store needs of an SQL engine: statements, transactions, a clock. One implementation for SQLite and one
// for PostgreSQL; the store's tables and queries (sql_schema.h, sql_job_store.h) are written once, in their common
// dialect, with parameters ?1, ?2, ... and the few differences in SqlDialect.
#ifndef QUANTD_SERVER_STORE_SQL_DATABASE_H_
#define QUANTD_SERVER_STORE_SQL_DATABASE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/durable_step.h"

namespace quantd {

enum class SqlDialect { kSqlite, kPostgres };

// One use of a prepared statement on one connection; used by one thread. Errors of binding are kept for Step and Run.
class SqlStatement {
 public:
  virtual ~SqlStatement() = default;
  // Parameters count from 1. Text and blobs are copied.
  virtual SqlStatement& Bind(int index, int64_t value) = 0;
  virtual SqlStatement& BindDouble(int index, double value) = 0;
  virtual SqlStatement& BindText(int index, absl::string_view value) = 0;
  virtual SqlStatement& BindBlob(int index, absl::string_view value) = 0;
  virtual SqlStatement& BindNull(int index) = 0;

  // True: a row is there. False: the end.
  virtual absl::StatusOr<bool> Step() = 0;

  // Columns of the current row count from 0; NULL gives 0, "" and nullopt.
  virtual int64_t Int(int column) const = 0;
  virtual double Double(int column) const = 0;
  // Of a column that holds no number only whether it is NULL can be asked.
  virtual std::optional<int64_t> OptionalInt(int column) const = 0;
  virtual std::string Bytes(int column) const = 0;

  // Rows changed by an INSERT, UPDATE or DELETE that has been stepped to its end.
  virtual int64_t changes() const = 0;

  // Steps to the end.
  absl::Status Run();
  SqlStatement& BindOptional(int index, std::optional<int64_t> value) {
    return value.has_value() ? Bind(index, *value) : BindNull(index);
  }
};

// Inside Read or Write; used by one thread.
class SqlConnection {
 public:
  virtual ~SqlConnection() = default;
  virtual SqlDialect dialect() const = 0;
  // `sql` is one of a small number of texts: compiled once a connection and cached. One use at a time.
  virtual std::unique_ptr<SqlStatement> Prepare(const std::string& sql) = 0;
  // For SQL that varies with a request, so that the cache stays small: compiled anew each time.
  virtual std::unique_ptr<SqlStatement> PrepareOnce(const std::string& sql) = 0;
  // Several statements without parameters or results.
  virtual absl::Status Execute(const std::string& sql) = 0;
};

using SqlBody = std::function<absl::Status(SqlConnection&)>;

// Thread-safe. Reasons of all calls: DISK_FULL (RESOURCE_EXHAUSTED); STORE_BUSY (UNAVAILABLE: nothing was done, try
// again); STORE_FAILED (UNAVAILABLE: SQLite refuses writes until restart, PostgreSQL cannot be reached); STORE_CORRUPT
// (DATA_LOSS); STORE_CONSTRAINT (INTERNAL; ALREADY_EXISTS when a key was there already).
class SqlDatabase {
 public:
  virtual ~SqlDatabase() = default;
  virtual SqlDialect dialect() const = 0;

  // A consistent view of what is committed.
  virtual absl::Status Read(const SqlBody& body) = 0;

  // One transaction, committed and synced when OK is returned; rolled back when `body` returns an error, which is then
  // the result. `body` may run several times (conflicts, lost connections): it must assign its outputs anew each time.
  // Concurrent calls may share one sync (group commit).
  virtual absl::Status Write(DurableStep step, const SqlBody& body) = 0;

  // The clock that judges leases: the server's own for SQLite, the database's for PostgreSQL. Cheap.
  virtual absl::Time Now() = 0;

  // False while writes are refused: readiness shows it.
  virtual bool writable() const = 0;

  // Tells other servers on the same database that jobs have changed; a hint that may get lost. Never blocks for long.
  virtual void NotifyOthers() {}
  // `on_change` is called, from another thread, when another server has said so. Called once, before the first use.
  virtual void ListenToOthers(std::function<void()> /*on_change*/) {}
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQL_DATABASE_H_
