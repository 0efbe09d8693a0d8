// A bounded set of connections to one PostgreSQL server, made when needed and again after they are lost.
//
//   ASSIGN_OR_RETURN(PostgresPool::Lease lease, pool.Take());
//   RETURN_IF_ERROR(lease->BeginWrite());   // the destructor gives the connection back
#ifndef QUANTD_SERVER_STORE_POSTGRES_POOL_H_
#define QUANTD_SERVER_STORE_POSTGRES_POOL_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/database_clock.h"
#include "server/store/postgres_connection.h"

namespace quantd {

struct PostgresPoolOptions {
  int size = 8;
  // How long a caller waits for a connection: a restart of the database server is over by then.
  absl::Duration patience = absl::Seconds(5);
  PostgresSession session = {};
};

// Thread-safe.
class PostgresPool {
 public:
  PostgresPool(PostgresDsn dsn, PostgresPoolOptions options, DatabaseClock& clock);

 private:
  struct GiveBack {
    PostgresPool* pool = nullptr;
    int64_t generation = 0;
    void operator()(PostgresConnection* connection) const { pool->Return(connection, generation); }
  };

 public:
  using Lease = std::unique_ptr<PostgresConnection, GiveBack>;

  // UNAVAILABLE STORE_BUSY when all connections stay busy, STORE_FAILED when the server cannot be reached.
  absl::StatusOr<Lease> Take();

  // A connection that does not count, for a thread that keeps it; its success or failure is known to the pool. No
  // waiting.
  absl::StatusOr<std::unique_ptr<PostgresConnection>> Connect();

  // Whether the last attempt to connect succeeded.
  bool reachable() const;

 private:
  struct Idle {
    std::unique_ptr<PostgresConnection> connection;
    int64_t generation;
  };
  absl::StatusOr<Lease> TryTake(std::unique_lock<std::mutex>& lock);
  void Return(PostgresConnection* connection, int64_t generation);
  void NoteConnect(const absl::Status& status);
  absl::Status Exhausted() const;

  const PostgresDsn dsn_;
  const PostgresPoolOptions options_;
  DatabaseClock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Idle> idle_;   // guarded by mutex_, as are all below
  int open_ = 0;             // idle, lent and being made
  bool connecting_ = false;  // after a failure one caller at a time tries
  int64_t generation_ = 0;   // grows when a connection is lost: those made before are probably lost too
  int failures_ = 0;         // to connect, in a row
  absl::Time next_attempt_ = absl::InfinitePast();  // of this host's clock
  absl::Status last_error_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_POSTGRES_POOL_H_
