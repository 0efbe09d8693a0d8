#include "server/store/tallies.h"

#include <algorithm>
#include <atomic>
#include <tuple>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

constexpr uint32_t kPostgresShards = 16;

int64_t AnyShard(const SqlConnection& connection) {
  static std::atomic<uint32_t> next{0};
  return connection.dialect() == SqlDialect::kSqlite ? 0 : next.fetch_add(1) % kPostgresShards;
}

struct Tally {
  JobState state;
  std::string tenant;
  std::string device;
  int64_t jobs;
  int64_t bytes;

  bool SameRow(const Tally& other) const {
    return std::tie(state, tenant, device) == std::tie(other.state, other.tenant, other.device);
  }
};

Tally TallyOf(const JobRecord& record) {
  return {record.job.state(), record.tenant, DeviceOf(record.job.spec()), 1, StoredBytes(record.job)};
}

absl::Status Add(SqlConnection& connection, const Tally& tally, int sign, int64_t shard) {
  const auto insert = connection.Prepare(
      "INSERT INTO tallies (state, tenant, device, shard, jobs, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
      "ON CONFLICT (state, tenant, device, shard) DO UPDATE SET jobs = tallies.jobs + excluded.jobs, "
      "bytes = tallies.bytes + excluded.bytes");
  insert->Bind(1, tally.state).BindText(2, tally.tenant).BindText(3, tally.device).Bind(4, shard);
  return insert->Bind(5, sign * tally.jobs).Bind(6, sign * tally.bytes).Run();
}

absl::StatusOr<int64_t> FirstInt(SqlStatement& statement) {
  RETURN_IF_ERROR(statement.Step().status());
  return statement.Int(0);
}

absl::Status CheckQueued(int64_t queued, int64_t limit, absl::string_view whose) {
  if (limit <= 0 || queued < limit) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kResourceExhausted, "QUOTA_QUEUED_JOBS",
                     absl::StrFormat("%d jobs%s are queued already, the limit is %d; retry when some have finished",
                                     queued, whose, limit));
}

}  // namespace

absl::Status MoveTally(SqlConnection& connection, const JobRecord* before, const JobRecord* after) {
  const int64_t shard = AnyShard(connection);
  if (before == nullptr) return Add(connection, TallyOf(*after), 1, shard);
  const Tally from = TallyOf(*before);
  if (after == nullptr) return Add(connection, from, -1, shard);
  const Tally to = TallyOf(*after);
  if (from.SameRow(to)) {
    if (from.bytes == to.bytes) return absl::OkStatus();
    return Add(connection, {to.state, to.tenant, to.device, 0, to.bytes - from.bytes}, 1, shard);
  }
  // Always in one order, so that two transactions never wait for each other.
  if (from.state > to.state) {
    RETURN_IF_ERROR(Add(connection, to, 1, shard));
    return Add(connection, from, -1, shard);
  }
  RETURN_IF_ERROR(Add(connection, from, -1, shard));
  return Add(connection, to, 1, shard);
}

absl::StatusOr<std::map<JobState, int64_t>> ReadCountByState(SqlConnection& connection) {
  std::map<JobState, int64_t> counts;
  const auto query = connection.Prepare("SELECT state, CAST(SUM(jobs) AS BIGINT) FROM tallies GROUP BY state");
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return counts;
    counts[static_cast<JobState>(query->Int(0))] = query->Int(1);
  }
}

absl::StatusOr<std::map<std::string, TenantCounts>> ReadCountByTenant(SqlConnection& connection) {
  std::map<std::string, TenantCounts> counts;
  const auto query = connection.Prepare("SELECT tenant, state, jobs, bytes FROM tallies");
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return counts;
    TenantCounts& tenant = counts[query->Bytes(0)];
    const JobState state = static_cast<JobState>(query->Int(1));
    if (state == v1::QuantJob::QUEUED) tenant.queued += query->Int(2);
    if (HasLease(state)) tenant.running += query->Int(2);
    tenant.stored_bytes += query->Int(3);
  }
}

absl::StatusOr<QueueSummary> ReadQueueSummary(SqlConnection& connection) {
  QueueSummary summary;
  {
    const auto query = connection.Prepare(
        "SELECT device, CAST(SUM(jobs) AS BIGINT) FROM tallies WHERE state = 1 GROUP BY device HAVING SUM(jobs) > 0");
    while (true) {
      ASSIGN_OR_RETURN(const bool row, query->Step());
      if (!row) break;
      summary.waiting_by_device[query->Bytes(0)] = query->Int(1);
    }
  }
  const auto oldest = connection.Prepare(
      "SELECT (SELECT create_us FROM jobs WHERE state = 1 AND jobs.tenant = waiting.tenant ORDER BY sequence LIMIT 1) "
      "FROM (SELECT DISTINCT tenant FROM tallies WHERE state = 1) AS waiting");
  while (true) {
    ASSIGN_OR_RETURN(const bool row, oldest->Step());
    if (!row) return summary;
    const auto create_us = oldest->OptionalInt(0);
    if (!create_us.has_value()) continue;
    summary.oldest_create_time = std::min(summary.oldest_create_time, absl::FromUnixMicros(*create_us));
  }
}

absl::Status CheckLimits(SqlConnection& connection, absl::string_view tenant, const SubmitLimits& limits) {
  if (limits.max_queued > 0) {
    const auto all = connection.Prepare("SELECT CAST(COALESCE(SUM(jobs), 0) AS BIGINT) FROM tallies WHERE state = 1");
    ASSIGN_OR_RETURN(const int64_t queued, FirstInt(*all));
    RETURN_IF_ERROR(CheckQueued(queued, limits.max_queued, ""));
  }
  if (limits.tenant_max_queued > 0) {
    const auto own = connection.Prepare(
        "SELECT CAST(COALESCE(SUM(jobs), 0) AS BIGINT) FROM tallies WHERE state = 1 AND tenant = ?1");
    ASSIGN_OR_RETURN(const int64_t queued, FirstInt(own->BindText(1, tenant)));
    RETURN_IF_ERROR(CheckQueued(queued, limits.tenant_max_queued, absl::StrFormat(" of tenant %s", tenant)));
  }
  if (limits.tenant_max_stored_bytes <= 0) return absl::OkStatus();
  const auto stored = connection.Prepare(
      "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM tallies WHERE state IN (4, 5) AND tenant = ?1");
  ASSIGN_OR_RETURN(const int64_t bytes, FirstInt(stored->BindText(1, tenant)));
  if (bytes < limits.tenant_max_stored_bytes) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kResourceExhausted, "QUOTA_STORED_BYTES",
                     absl::StrFormat("the artifacts of tenant %s take %d bytes, the limit is %d; delete some jobs, or "
                                     "wait until their artifacts expire",
                                     tenant, bytes, limits.tenant_max_stored_bytes));
}

absl::StatusOr<std::map<std::string, TenantQueue>> ReadTenantQueues(SqlConnection& connection) {
  std::map<std::string, TenantQueue> queues;
  const auto query = connection.Prepare("SELECT tenant, state, device, jobs FROM tallies WHERE state IN (1, 2, 3)");
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return queues;
    TenantQueue& queue = queues[query->Bytes(0)];
    if (query->Int(1) == v1::QuantJob::QUEUED) {
      queue.queued_by_device[query->Bytes(2)] += query->Int(3);
    } else {
      queue.running += query->Int(3);
    }
  }
}

}  // namespace quantd
