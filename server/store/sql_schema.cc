#include "server/store/sql_schema.h"

#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"

namespace quantd {
namespace {

// States are the numbers of QuantJob.State. Times are microseconds since 1970; NULL means unset. Messages are
// serialized protos: unknown fields of a later minor version survive. $WORDS differ between the engines.
constexpr char kTables[] = R"sql(
CREATE TABLE jobs (
  sequence           $SEQUENCE,
  id                 TEXT NOT NULL UNIQUE,
  tenant             TEXT NOT NULL,
  state              $INT NOT NULL CHECK (state BETWEEN 1 AND 7),
  preset             TEXT NOT NULL,
  model              TEXT NOT NULL,
  device             TEXT NOT NULL,
  rank_us            $INT NOT NULL,
  memory_bytes       $INT NOT NULL,
  disk_bytes         $INT NOT NULL,
  revision           $INT NOT NULL CHECK (revision > 0),
  compacted_revision $INT NOT NULL DEFAULT 0,
  fence              $INT NOT NULL CHECK (fence >= 0),
  attempt            $INT NOT NULL CHECK (attempt >= 0),
  worker             TEXT NOT NULL,
  incarnation        TEXT NOT NULL,
  lost_on            TEXT NOT NULL,
  create_us          $INT NOT NULL,
  start_us           $INT,
  end_us             $INT,
  lease_deadline_us  $INT,
  run_after_us       $INT,
  queue_deadline_us  $INT,
  run_deadline_us    $INT,
  delete_us          $INT,
  purge_us           $INT,
  expire_us          $INT,
  stored_bytes       $INT NOT NULL,
  spec               $BLOB NOT NULL,
  estimate           $BLOB,
  progress           $BLOB,
  error              $BLOB,
  artifact           $BLOB,
  checkpoint         $BLOB,
  actuals            $BLOB,
  last_failure       $BLOB,
  CHECK ((state IN (2, 3)) = (lease_deadline_us IS NOT NULL)),
  CHECK ((state >= 4) = (end_us IS NOT NULL)),
  CHECK ((state IN (4, 5)) = (artifact IS NOT NULL)),
  CHECK ((state = 6) = (error IS NOT NULL)),
  CHECK (state < 4 OR checkpoint IS NULL),
  CHECK (state >= 4 OR delete_us IS NULL),
  CHECK (state = 1 OR queue_deadline_us IS NULL),
  CHECK (state = 2 OR run_deadline_us IS NULL),
  CHECK ((delete_us IS NULL) = (purge_us IS NULL))
) $STRICT;
CREATE INDEX jobs_by_tenant ON jobs (tenant, sequence);
CREATE INDEX jobs_by_state ON jobs (state, tenant, sequence);
CREATE INDEX jobs_by_preset ON jobs (tenant, preset, state, sequence);
CREATE INDEX jobs_by_model ON jobs (tenant, model, state, sequence, preset);
CREATE INDEX jobs_to_claim ON jobs (tenant, device, rank_us, sequence, state, memory_bytes, disk_bytes, run_after_us,
                                   lost_on) WHERE state = 1;
CREATE INDEX jobs_by_lease ON jobs (lease_deadline_us) WHERE lease_deadline_us IS NOT NULL;
CREATE INDEX jobs_by_queue_deadline ON jobs (queue_deadline_us) WHERE queue_deadline_us IS NOT NULL;
CREATE INDEX jobs_by_run_deadline ON jobs (run_deadline_us) WHERE run_deadline_us IS NOT NULL;
CREATE INDEX jobs_to_retire ON jobs (tenant, end_us) WHERE end_us IS NOT NULL AND delete_us IS NULL;
CREATE INDEX jobs_to_expire ON jobs (expire_us) WHERE expire_us IS NOT NULL;
CREATE INDEX jobs_to_purge ON jobs (purge_us) WHERE purge_us IS NOT NULL;

CREATE TABLE events (
  revision $INT NOT NULL PRIMARY KEY,
  job      $INT NOT NULL REFERENCES jobs (sequence),
  state    $INT NOT NULL CHECK (state BETWEEN 1 AND 7),
  time_us  $INT NOT NULL,
  snapshot $BLOB NOT NULL
) $STRICT;
CREATE INDEX events_by_job ON events (job, revision);

CREATE TABLE requests (
  tenant     TEXT NOT NULL,
  request_id TEXT NOT NULL,
  job        $INT NOT NULL REFERENCES jobs (sequence),
  create_us  $INT NOT NULL,
  PRIMARY KEY (tenant, request_id)
) $KEYED;
CREATE INDEX requests_by_job ON requests (job);

CREATE TABLE reports (
  job    $INT NOT NULL PRIMARY KEY REFERENCES jobs (sequence),
  report $BLOB NOT NULL
) $STRICT;

CREATE TABLE artifact_files (
  sha256 TEXT NOT NULL,
  job    $INT NOT NULL REFERENCES jobs (sequence),
  kind   $INT NOT NULL CHECK (kind BETWEEN 0 AND 1),
  PRIMARY KEY (sha256, job, kind)
) $KEYED;
CREATE INDEX artifact_files_by_job ON artifact_files (job, kind);

CREATE TABLE audit (
  sequence $ROWNUMBER,
  time_us  $INT NOT NULL,
  tenant   TEXT NOT NULL,
  job      $INT NOT NULL,
  job_id   TEXT NOT NULL,
  actor    TEXT NOT NULL,
  action   TEXT NOT NULL,
  detail   TEXT NOT NULL
) $STRICT;
CREATE INDEX audit_by_tenant ON audit (tenant, sequence);
CREATE INDEX audit_by_job ON audit (job, sequence);

CREATE TABLE tenants (
  tenant       TEXT NOT NULL PRIMARY KEY,
  virtual_time $INT NOT NULL,
  served_at    $INT NOT NULL
) $KEYED;

CREATE TABLE tallies (
  state  $INT NOT NULL,
  tenant TEXT NOT NULL,
  device TEXT NOT NULL,
  shard  $INT NOT NULL,
  jobs   $INT NOT NULL,
  bytes  $INT NOT NULL,
  PRIMARY KEY (state, tenant, device, shard)
) $KEYED;
)sql";

constexpr char kSqliteTail[] = R"sql(
CREATE TABLE counters (
  name  TEXT    NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('revision', 0);
)sql";

// A sequence instead of a row: writers would wait for each other's commits.
constexpr char kPostgresTail[] = R"sql(
CREATE SEQUENCE revisions;
)sql";

using Words = std::vector<std::pair<absl::string_view, absl::string_view>>;

Words WordsOf(SqlDialect dialect) {
  if (dialect == SqlDialect::kPostgres) {
    return {{"$INT", "BIGINT"},
            {"$BLOB", "BYTEA"},
            {"$SEQUENCE", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"},
            {"$ROWNUMBER", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"},
            {"$STRICT", ""},
            {"$KEYED", ""}};
  }
  return {{"$INT", "INTEGER"},
          {"$BLOB", "BLOB"},
          {"$SEQUENCE", "INTEGER PRIMARY KEY AUTOINCREMENT"},
          {"$ROWNUMBER", "INTEGER PRIMARY KEY"},  // the newest is never deleted, so none is reused
          {"$STRICT", "STRICT"},
          {"$KEYED", "STRICT, WITHOUT ROWID"}};
}

}  // namespace

std::string SchemaSql(SqlDialect dialect) {
  const std::string tables = absl::StrReplaceAll(kTables, WordsOf(dialect));
  return tables + (dialect == SqlDialect::kPostgres ? kPostgresTail : kSqliteTail);
}

}  // namespace quantd
