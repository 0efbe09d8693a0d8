#include "server/store/claim_queries.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "server/scheduler/fair_order.h"
#include "server/store/job_rows.h"
#include "server/store/tallies.h"

namespace quantd {
namespace {

struct VirtualTimes {
  std::map<std::string, int64_t> by_tenant;
  int64_t clock = 0;  // at which the tenant served last began
};

struct Turn {
  std::string tenant;
  int64_t virtual_time = 0;
  std::vector<std::string> devices;  // that have queued jobs and that the worker has
  TenantPolicy policy;
};

struct Candidate {
  int64_t rank_us = 0;
  int64_t sequence = 0;
  bool operator<(const Candidate& other) const {
    return std::tie(rank_us, sequence) < std::tie(other.rank_us, other.sequence);
  }
};

absl::StatusOr<VirtualTimes> ReadVirtualTimes(SqlConnection& connection) {
  VirtualTimes times;
  const auto query = connection.Prepare("SELECT tenant, virtual_time, served_at FROM tenants");
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return times;
    times.by_tenant[query->Bytes(0)] = query->Int(1);
    times.clock = std::max(times.clock, query->Int(2));
  }
}

std::vector<std::string> UsableDevices(const TenantQueue& queue, const ClaimQuery& query) {
  std::vector<std::string> usable;
  for (const auto& [device, jobs] : queue.queued_by_device) {
    const bool fits =
        device == "auto" || std::find(query.devices.begin(), query.devices.end(), device) != query.devices.end();
    if (jobs > 0 && fits) usable.push_back(device);
  }
  return usable;
}

// Tenants that may be served, whose turn it is first.
absl::StatusOr<std::vector<Turn>> ReadTurns(SqlConnection& connection, const ClaimQuery& query) {
  ASSIGN_OR_RETURN(const auto queues, ReadTenantQueues(connection));
  ASSIGN_OR_RETURN(const VirtualTimes times, ReadVirtualTimes(connection));
  std::vector<Turn> turns;
  for (const auto& [tenant, queue] : queues) {
    Turn turn = {tenant, times.clock, UsableDevices(queue, query),
                 query.policy ? query.policy(tenant) : TenantPolicy()};
    if (turn.devices.empty()) continue;
    if (turn.policy.max_running > 0 && queue.running >= turn.policy.max_running) continue;
    const auto own = times.by_tenant.find(tenant);
    if (own != times.by_tenant.end()) turn.virtual_time = TurnStart(own->second, times.clock);
    turns.push_back(std::move(turn));
  }
  std::stable_sort(turns.begin(), turns.end(),
                   [](const Turn& a, const Turn& b) { return a.virtual_time < b.virtual_time; });
  return turns;
}

// The first job of one tenant and device that fits the worker. On PostgreSQL `lock` keeps it for this transaction.
absl::StatusOr<std::optional<Candidate>> FirstOf(SqlConnection& connection, const Turn& turn, const std::string& device,
                                                 const ClaimQuery& query, bool lock) {
  const bool locks = lock && connection.dialect() == SqlDialect::kPostgres;
  const auto select = connection.Prepare(absl::StrCat(
      "SELECT rank_us, sequence FROM jobs WHERE state = 1 AND tenant = ?1 AND device = ?2 AND memory_bytes <= ?3 AND "
      "disk_bytes <= ?4 AND (run_after_us IS NULL OR (run_after_us <= ?5 AND (lost_on <> ?6 OR run_after_us <= ?7))) "
      "ORDER BY rank_us, sequence LIMIT 1",
      locks ? " FOR UPDATE SKIP LOCKED" : ""));
  select->BindText(1, turn.tenant).BindText(2, device).Bind(3, query.memory_bytes).Bind(4, query.disk_bytes);
  const absl::Time avoid_until = query.avoid_worker.empty() ? absl::InfiniteFuture() : query.now - query.avoid_for;
  select->Bind(5, absl::ToUnixMicros(query.now)).BindText(6, query.avoid_worker);
  select->Bind(7, absl::ToUnixMicros(avoid_until));
  ASSIGN_OR_RETURN(const bool row, select->Step());
  if (!row) return std::nullopt;
  return Candidate{select->Int(0), select->Int(1)};
}

absl::StatusOr<std::optional<Candidate>> FirstOf(SqlConnection& connection, const Turn& turn, const ClaimQuery& query,
                                                 bool lock) {
  std::optional<Candidate> first;
  for (const std::string& device : turn.devices) {
    ASSIGN_OR_RETURN(const std::optional<Candidate> candidate, FirstOf(connection, turn, device, query, lock));
    if (candidate.has_value() && (!first.has_value() || *candidate < *first)) first = candidate;
  }
  return first;
}

absl::Status Charge(SqlConnection& connection, const Turn& turn) {
  const int64_t cost = TurnCost(turn.policy.weight);
  const auto charge = connection.Prepare(
      "INSERT INTO tenants (tenant, virtual_time, served_at) VALUES (?1, ?4, ?2) ON CONFLICT (tenant) DO UPDATE "
      "SET served_at = CASE WHEN tenants.virtual_time < ?2 THEN ?2 ELSE tenants.virtual_time END, "
      "virtual_time = CASE WHEN tenants.virtual_time < ?2 THEN ?2 ELSE tenants.virtual_time END + ?3");
  charge->BindText(1, turn.tenant).Bind(2, turn.virtual_time).Bind(3, cost);
  return charge->Bind(4, turn.virtual_time + cost).Run();
}

}  // namespace

absl::StatusOr<bool> AnyClaimable(SqlConnection& connection, const ClaimQuery& query) {
  ASSIGN_OR_RETURN(const std::vector<Turn> turns, ReadTurns(connection, query));
  for (const Turn& turn : turns) {
    ASSIGN_OR_RETURN(const std::optional<Candidate> first, FirstOf(connection, turn, query, /*lock=*/false));
    if (first.has_value()) return true;
  }
  return false;
}

absl::StatusOr<std::optional<JobRecord>> TakeNext(SqlConnection& connection, const ClaimQuery& query) {
  ASSIGN_OR_RETURN(const std::vector<Turn> turns, ReadTurns(connection, query));
  for (const Turn& turn : turns) {
    ASSIGN_OR_RETURN(const std::optional<Candidate> first, FirstOf(connection, turn, query, /*lock=*/true));
    if (!first.has_value()) continue;
    RETURN_IF_ERROR(Charge(connection, turn));
    const auto select = connection.Prepare(SelectJobs("WHERE sequence = ?1"));
    select->Bind(1, first->sequence);
    return ReadOneJob(*select);
  }
  return std::nullopt;
}

}  // namespace quantd
