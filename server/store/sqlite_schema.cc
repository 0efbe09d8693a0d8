#include "server/store/sqlite_schema.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

// States are the numbers of QuantJob.State. Times are microseconds since 1970; NULL means unset. Messages are
// serialized protos: unknown fields of a later minor version survive.
constexpr char kVersion1[] = R"sql(
CREATE TABLE jobs (
  sequence          INTEGER PRIMARY KEY AUTOINCREMENT,
  id                TEXT    NOT NULL UNIQUE,
  state             INTEGER NOT NULL CHECK (state BETWEEN 1 AND 7),
  preset            TEXT    NOT NULL,
  model             TEXT    NOT NULL,
  device            TEXT    NOT NULL,
  revision          INTEGER NOT NULL CHECK (revision > 0),
  fence             INTEGER NOT NULL CHECK (fence >= 0),
  attempt           INTEGER NOT NULL CHECK (attempt >= 0),
  worker            TEXT    NOT NULL,
  incarnation       TEXT    NOT NULL,
  create_us         INTEGER NOT NULL,
  start_us          INTEGER,
  end_us            INTEGER,
  lease_deadline_us INTEGER,
  run_after_us      INTEGER,
  spec              BLOB    NOT NULL,
  progress          BLOB,
  error             BLOB,
  artifact          BLOB,
  CHECK ((state IN (2, 3)) = (lease_deadline_us IS NOT NULL)),
  CHECK ((state >= 4) = (end_us IS NOT NULL)),
  CHECK ((state IN (4, 5)) = (artifact IS NOT NULL)),
  CHECK ((state = 6) = (error IS NOT NULL))
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, sequence);
CREATE INDEX jobs_by_deadline ON jobs (lease_deadline_us) WHERE lease_deadline_us IS NOT NULL;

CREATE TABLE events (
  revision INTEGER PRIMARY KEY,
  job      INTEGER NOT NULL REFERENCES jobs (sequence),
  state    INTEGER NOT NULL CHECK (state BETWEEN 1 AND 7),
  time_us  INTEGER NOT NULL,
  snapshot BLOB    NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events (job, revision);

CREATE TABLE requests (
  request_id TEXT    NOT NULL PRIMARY KEY,
  job        INTEGER NOT NULL REFERENCES jobs (sequence),
  create_us  INTEGER NOT NULL
) STRICT;

CREATE TABLE reports (
  job    INTEGER NOT NULL PRIMARY KEY REFERENCES jobs (sequence),
  report BLOB    NOT NULL
) STRICT;

CREATE TABLE counters (
  name  TEXT    NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT;
INSERT INTO counters VALUES ('revision', 0);
)sql";

// Step n takes version n to n + 1.
constexpr const char* kMigrations[] = {kVersion1};
static_assert(std::size(kMigrations) == kSchemaVersion);

absl::StatusOr<int64_t> UserVersion(SqliteConnection& connection) {
  Statement query = connection.Prepare("PRAGMA user_version");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

}  // namespace

absl::Status ConfigureWriter(SqliteConnection& connection) {
  return connection.Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
}

absl::Status ConfigureReader(SqliteConnection& connection) {
  return connection.Execute("PRAGMA query_only = ON;");
}

absl::Status MigrateSchema(SqliteConnection& connection, const std::string& data_directory) {
  ASSIGN_OR_RETURN(const int64_t version, UserVersion(connection));
  if (version > kSchemaVersion) {
    return ReasonError(
        absl::StatusCode::kFailedPrecondition, "DATA_DIRECTORY_TOO_NEW",
        absl::StrFormat("data directory %s was written by a newer quantd (schema %d, this one knows %d); "
                        "run that version or choose another directory with --data-dir",
                        data_directory, version, kSchemaVersion));
  }
  if (version == kSchemaVersion) return absl::OkStatus();
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection));
  for (int64_t step = version; step < kSchemaVersion; ++step) RETURN_IF_ERROR(connection.Execute(kMigrations[step]));
  RETURN_IF_ERROR(connection.Execute(absl::StrCat("PRAGMA user_version = ", kSchemaVersion)));
  return transaction.Commit();
}

}  // namespace quantd
