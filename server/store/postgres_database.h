// PostgreSQL as the job store's engine, for several servers on one queue.
//
// Transactions run READ COMMITTED on a pool of connections and are run again, from the beginning, when another
// transaction was in the way or the connection was lost before their commit was sent. When the connection is lost while
// the answer of a COMMIT is awaited, the server is asked what became of the transaction (pg_xact_status), and the
// caller gets the truth. One case is left: the database server itself crashed, and since it came back another
// transaction may have got the same number: then the call fails with STORE_BUSY although it may have been done, as if
// the caller had missed the answer.
#ifndef QUANTD_SERVER_STORE_POSTGRES_DATABASE_H_
#define QUANTD_SERVER_STORE_POSTGRES_DATABASE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/postgres_pool.h"
#include "server/store/sql_database.h"

namespace quantd {

struct PostgresOptions {
  std::string dsn;
  PostgresPoolOptions pool = {};
  // Told of each commit how long its transaction took, from the first statement on, and of how many writes (one) it
  // was; may be empty.
  std::function<void(double seconds, int writes)> on_commit = {};
};

// Connects; the tables are the business of postgres_schema.h. Reasons: STORE_DSN_INVALID, STORE_FAILED (cannot be
// reached), STORE_UNSUITABLE.
absl::StatusOr<std::unique_ptr<SqlDatabase>> ConnectPostgresDatabase(const PostgresOptions& options);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_POSTGRES_DATABASE_H_
