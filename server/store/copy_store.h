// Moves a job store from SQLite to PostgreSQL: every row of every table, in one transaction.
#ifndef QUANTD_SERVER_STORE_COPY_STORE_H_
#define QUANTD_SERVER_STORE_COPY_STORE_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/sql_database.h"

namespace quantd {

// Both with the tables of this program's schema version; nobody else writes to `sqlite` meanwhile. Afterwards
// `postgres` gives the next numbers where `sqlite` would have. The result is the number of rows of each table.
// FAILED_PRECONDITION STORE_NOT_EMPTY when `postgres` has a row already: then, and after any other error, nothing has
// been copied.
absl::StatusOr<std::map<std::string, int64_t>> CopyStore(SqlDatabase& sqlite, SqlDatabase& postgres);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_COPY_STORE_H_
