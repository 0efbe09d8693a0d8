#include "server/store/audit_log.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {
namespace {

AuditRow ReadRow(const SqlStatement& row) {
  return {.sequence = row.Int(0),
          .time = absl::FromUnixMicros(row.Int(1)),
          .tenant = row.Bytes(2),
          .job = row.Bytes(3),
          .note = {.actor = row.Bytes(4), .action = row.Bytes(5), .detail = row.Bytes(6)}};
}

std::string SelectAudit(absl::string_view where) {
  return absl::StrCat("SELECT sequence, time_us, tenant, job_id, actor, action, detail FROM audit WHERE ", where,
                      " AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3");
}

}  // namespace

absl::Status InsertAudit(SqlConnection& connection, const JobRecord& record, const AuditNote& note, absl::Time now) {
  if (note.action.empty()) return absl::OkStatus();
  const auto insert = connection.Prepare(
      "INSERT INTO audit (time_us, tenant, job, job_id, actor, action, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
  insert->Bind(1, absl::ToUnixMicros(now)).BindText(2, record.tenant).Bind(3, record.sequence).BindText(4, record.id);
  return insert->BindText(5, note.actor).BindText(6, note.action).BindText(7, note.detail).Run();
}

absl::Status InsertServiceAudit(SqlConnection& connection, const AuditNote& note, absl::Time now) {
  JobRecord none;
  none.tenant.clear();
  return InsertAudit(connection, none, note, now);
}

absl::StatusOr<int64_t> DeleteOldAudit(SqlConnection& connection, absl::Time before, int limit) {
  // Rows come nearly in the order of their times.
  const auto drop = connection.Prepare(
      "DELETE FROM audit WHERE sequence IN (SELECT sequence FROM (SELECT sequence, time_us FROM audit WHERE sequence < "
      "(SELECT MAX(sequence) FROM audit) ORDER BY sequence LIMIT ?2) AS oldest WHERE time_us < ?1)");
  RETURN_IF_ERROR(drop->Bind(1, absl::ToUnixMicros(before)).Bind(2, limit).Run());
  return drop->changes();
}

absl::StatusOr<std::vector<AuditRow>> ReadAudit(SqlConnection& connection, const AuditQuery& query) {
  const auto select =
      query.all_tenants ? connection.Prepare(SelectAudit("?1 = ''"))
      : query.job.empty()
          ? connection.Prepare(SelectAudit("tenant = ?1"))
          : connection.Prepare(SelectAudit("job = (SELECT sequence FROM jobs WHERE tenant = ?1 AND id = ?4)"));
  select->BindText(1, query.all_tenants ? "" : query.tenant);
  if (!query.all_tenants && !query.job.empty()) select->BindText(4, query.job);
  select->Bind(2, query.before_sequence > 0 ? query.before_sequence : INT64_MAX).Bind(3, query.limit);
  std::vector<AuditRow> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Step());
    if (!row) return rows;
    rows.push_back(ReadRow(*select));
  }
}

}  // namespace quantd
