#include "server/store/retention_queries.h"

#include <set>

#include "core/base/status.h"
#include "server/store/job_rows.h"
#include "server/store/tallies.h"

namespace quantd {
namespace {

enum FileKind { kOfArtifact = 0, kOfCheckpoint = 1 };

absl::StatusOr<std::vector<std::string>> ReadTexts(SqlStatement& statement) {
  std::vector<std::string> texts;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return texts;
    texts.push_back(statement.Bytes(0));
  }
}

// Terminal jobs of the tenant that ended before this are to go; nothing: none of them.
absl::StatusOr<std::optional<int64_t>> RetireBefore(SqlConnection& connection, const std::string& tenant,
                                                    const RetentionQuery& query) {
  std::optional<int64_t> before;
  if (query.finished_before != absl::InfinitePast()) before = absl::ToUnixMicros(query.finished_before);
  if (query.keep_newest_per_tenant <= 0) return before;
  const auto oldest_kept = connection.Prepare(
      "SELECT end_us FROM jobs WHERE tenant = ?1 AND end_us IS NOT NULL AND delete_us IS NULL "
      "ORDER BY end_us DESC LIMIT 1 OFFSET ?2");
  oldest_kept->BindText(1, tenant).Bind(2, query.keep_newest_per_tenant - 1);
  ASSIGN_OR_RETURN(const bool row, oldest_kept->Step());
  if (row && (!before.has_value() || oldest_kept->Int(0) > *before)) before = oldest_kept->Int(0);
  return before;
}

absl::StatusOr<std::vector<std::string>> ReadRetirableOf(SqlConnection& connection, const std::string& tenant,
                                                         const RetentionQuery& query, int64_t limit) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> before, RetireBefore(connection, tenant, query));
  if (!before.has_value()) return std::vector<std::string>();
  const auto select = connection.Prepare(
      "SELECT id FROM jobs WHERE tenant = ?1 AND end_us IS NOT NULL AND delete_us IS NULL AND end_us < ?2 "
      "ORDER BY end_us LIMIT ?3");
  select->BindText(1, tenant).Bind(2, *before).Bind(3, limit);
  return ReadTexts(*select);
}

std::set<std::string> Digests(const google::protobuf::RepeatedPtrField<v1::ArtifactFile>& files) {
  std::set<std::string> digests;
  for (const v1::ArtifactFile& file : files) digests.insert(file.sha256());
  return digests;
}

std::set<std::string> ArtifactDigests(const JobRecord* record) {
  if (record == nullptr || record->job.artifact().expired()) return {};
  return Digests(record->job.artifact().files());
}

std::set<std::string> CheckpointDigests(const JobRecord* record) {
  if (record == nullptr || !record->checkpoint.has_value()) return {};
  return Digests(record->checkpoint->files());
}

absl::Status Replace(SqlConnection& connection, int64_t job, FileKind kind, const std::set<std::string>& before,
                     const std::set<std::string>& after) {
  for (const std::string& digest : before) {
    if (after.count(digest) > 0) continue;
    const auto drop = connection.Prepare("DELETE FROM artifact_files WHERE sha256 = ?1 AND job = ?2 AND kind = ?3");
    RETURN_IF_ERROR(drop->BindText(1, digest).Bind(2, job).Bind(3, kind).Run());
  }
  for (const std::string& digest : after) {
    if (before.count(digest) > 0) continue;
    const auto insert = connection.Prepare("INSERT INTO artifact_files (sha256, job, kind) VALUES (?1, ?2, ?3)");
    RETURN_IF_ERROR(insert->BindText(1, digest).Bind(2, job).Bind(3, kind).Run());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadRetirable(SqlConnection& connection, const RetentionQuery& query) {
  ASSIGN_OR_RETURN(const auto tenants, ReadCountByTenant(connection));
  std::vector<std::string> ids;
  for (const auto& [tenant, counts] : tenants) {
    const int64_t left = query.limit - static_cast<int64_t>(ids.size());
    ASSIGN_OR_RETURN(const std::vector<std::string> some, ReadRetirableOf(connection, tenant, query, left));
    ids.insert(ids.end(), some.begin(), some.end());
  }
  return ids;
}

absl::StatusOr<std::vector<std::string>> ReadArtifactsToExpire(SqlConnection& connection, absl::Time now, int limit) {
  const auto select = connection.Prepare("SELECT id FROM jobs WHERE expire_us <= ?1 ORDER BY expire_us LIMIT ?2");
  select->Bind(1, absl::ToUnixMicros(now)).Bind(2, limit);
  return ReadTexts(*select);
}

absl::StatusOr<std::vector<JobRecord>> ReadPurgeable(SqlConnection& connection, absl::Time now, int limit) {
  const auto select = connection.Prepare(
      SelectJobs("WHERE purge_us <= ?1 AND NOT EXISTS (SELECT 1 FROM requests WHERE requests.job = jobs.sequence AND "
                 "requests.create_us > ?2) ORDER BY purge_us LIMIT ?3"));
  select->Bind(1, absl::ToUnixMicros(now)).Bind(2, absl::ToUnixMicros(now - kRequestIdLife)).Bind(3, limit);
  return ReadAllJobs(*select);
}

absl::Status DeleteJobRows(SqlConnection& connection, int64_t sequence) {
  for (const char* sql : {"DELETE FROM events WHERE job = ?1", "DELETE FROM requests WHERE job = ?1",
                          "DELETE FROM reports WHERE job = ?1", "DELETE FROM artifact_files WHERE job = ?1",
                          "DELETE FROM jobs WHERE sequence = ?1"}) {
    RETURN_IF_ERROR(connection.Prepare(sql)->Bind(1, sequence).Run());
  }
  return absl::OkStatus();
}

absl::Status UpdateFileReferences(SqlConnection& connection, const JobRecord* before, const JobRecord& after) {
  RETURN_IF_ERROR(Replace(connection, after.sequence, kOfArtifact, ArtifactDigests(before), ArtifactDigests(&after)));
  return Replace(connection, after.sequence, kOfCheckpoint, CheckpointDigests(before), CheckpointDigests(&after));
}

absl::StatusOr<std::vector<std::string>> ReadUnreferenced(SqlConnection& connection,
                                                          const std::vector<std::string>& sha256s) {
  std::vector<std::string> unreferenced;
  for (const std::string& digest : sha256s) {
    const auto query = connection.Prepare("SELECT 1 FROM artifact_files WHERE sha256 = ?1 LIMIT 1");
    query->BindText(1, digest);
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) unreferenced.push_back(digest);
  }
  return unreferenced;
}

absl::StatusOr<std::vector<FileReference>> ReadAllReferences(SqlConnection& connection) {
  std::vector<FileReference> references;
  const auto query = connection.Prepare(
      "SELECT sha256, jobs.id, kind FROM artifact_files JOIN jobs ON artifact_files.job = jobs.sequence "
      "ORDER BY sha256, jobs.sequence, kind");
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return references;
    references.push_back({query->Bytes(0), query->Bytes(1), query->Int(2) == kOfCheckpoint});
  }
}

}  // namespace quantd
