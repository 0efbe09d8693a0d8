// Tables of the job store: one text for every SQL engine.
//
// docs/store.md says what each table and index is for, and who writes it.
#ifndef QUANTD_SERVER_STORE_SQL_SCHEMA_H_
#define QUANTD_SERVER_STORE_SQL_SCHEMA_H_

#include <string>

#include "server/store/sql_database.h"

namespace quantd {

// Version 1 was SQLite only, without tenants, audit log and retention.
inline constexpr int kSchemaVersion = 2;

// Statements that create every table of kSchemaVersion in an empty database. The version itself is kept by the engine's
// own file (sqlite_schema.h; a table of its own for PostgreSQL).
std::string SchemaSql(SqlDialect dialect);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_SQL_SCHEMA_H_
