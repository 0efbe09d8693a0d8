#include "server/store/postgres_presence.h"

#include <string>

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

// Any number does that no other application of the same database uses.
constexpr int64_t kServersLock = 7433943320230126;

// pg_locks shows the number in two halves of 32 bits.
constexpr char kServersSql[] =
    "SELECT COUNT(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND "
    "database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objsubid = 1 AND "
    "(classid::bigint << 32) + objid::bigint = ?1";
constexpr char kExcludeSql[] = "SELECT CASE WHEN pg_try_advisory_lock(?1) THEN 1 ELSE 0 END";

// Of a query about the lock.
absl::StatusOr<int64_t> FirstInt(SqlConnection& connection, const std::string& sql) {
  const auto query = connection.PrepareOnce(sql);
  RETURN_IF_ERROR(query->Bind(1, kServersLock).Step().status());
  return query->Int(0);
}

}  // namespace

std::string BeServerSql() {
  return absl::StrFormat("pg_try_advisory_lock_shared(%d)", kServersLock);
}

absl::Status DatabaseInRepair() {
  return ReasonError(absl::StatusCode::kUnavailable, "STORE_IN_REPAIR",
                     "quantd fsck --repair has the PostgreSQL database for itself; wait until it has ended");
}

absl::StatusOr<int64_t> CountServerSessions(SqlConnection& connection) {
  return FirstInt(connection, kServersSql);
}

absl::Status ExcludeServers(SqlConnection& connection) {
  ASSIGN_OR_RETURN(const int64_t alone, FirstInt(connection, kExcludeSql));
  if (alone == 1) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t sessions, CountServerSessions(connection));
  return ReasonError(absl::StatusCode::kFailedPrecondition, "STORE_IN_USE",
                     absl::StrFormat("servers use the database (%d sessions of quantd); stop all of them to repair it, "
                                     "or check it without --repair",
                                     sessions));
}

}  // namespace quantd
