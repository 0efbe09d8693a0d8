// The job store's tables in a PostgreSQL database: made, recognized, and refused when they are somebody else's.
#ifndef QUANTD_SERVER_STORE_POSTGRES_SCHEMA_H_
#define QUANTD_SERVER_STORE_POSTGRES_SCHEMA_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "server/store/sql_database.h"

namespace quantd {

struct PostgresSchema {
  int64_t version = 0;
  std::string create_sql;  // all tables, for an empty database
};

// After OK the tables are there with this version. Servers that start at the same time do it one after another. The
// table `quantd_schema` says that a database is quantd's, and its version. FAILED_PRECONDITION
// STORE_OF_ANOTHER_APPLICATION (there are tables, and none of that name), STORE_TOO_NEW, STORE_TOO_OLD.
absl::Status PreparePostgresSchema(SqlDatabase& database, const PostgresSchema& schema);

// Looks only: NOT_FOUND DATABASE_MISSING when nobody has made the tables yet; STORE_TOO_NEW, STORE_TOO_OLD.
absl::Status CheckPostgresSchema(SqlConnection& connection, int64_t version);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_POSTGRES_SCHEMA_H_
