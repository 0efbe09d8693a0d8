// Who is at work on a PostgreSQL database. Every session of a quantd server holds a shared advisory lock for as long as
// it lasts; whoever repairs the database wants the same lock for itself alone, and while it has it servers get no
// session.
#ifndef QUANTD_SERVER_STORE_POSTGRES_PRESENCE_H_
#define QUANTD_SERVER_STORE_POSTGRES_PRESENCE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/sql_database.h"

namespace quantd {

// An expression that is true when the session is now one of a server's.
std::string BeServerSql();

// UNAVAILABLE STORE_IN_REPAIR, for a session that could not become one.
absl::Status DatabaseInRepair();

// Sessions of servers on the database of `connection`.
absl::StatusOr<int64_t> CountServerSessions(SqlConnection& connection);

// For as long as the session of `connection` lasts no server gets one. FAILED_PRECONDITION STORE_IN_USE while there are
// servers.
absl::Status ExcludeServers(SqlConnection& connection);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_POSTGRES_PRESENCE_H_
