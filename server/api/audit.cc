// QuantService::ListAuditRecords.
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "server/api/page_token.h"
#include "server/api/quant_service.h"
#include "server/api/resource_names.h"
#include "server/api/rpc_call.h"
#include "server/store/job_rows.h"

namespace quantd {
namespace {

// A tenant, one job of it, or "tenants/-" for all of them and what is of no job. The records of a job that has been
// purged stay among those of its tenant.
absl::StatusOr<AuditQuery> ParseAuditParent(absl::string_view parent) {
  AuditQuery query;
  query.all_tenants = parent == "tenants/-";
  if (query.all_tenants) return query;
  if (std::optional<JobNameParts> parts = SplitJobName(parent); parts.has_value()) {
    query.tenant = std::move(parts->tenant);
    query.job = std::move(parts->job);
    return query;
  }
  ASSIGN_OR_RETURN(query.tenant, ParseParent(parent));
  return query;
}

v1::AuditRecord ToMessage(const AuditRow& row) {
  v1::AuditRecord record;
  SetTimestamp(row.time, record.mutable_time());
  record.set_actor(row.note.actor);
  record.set_action(row.note.action);
  record.set_detail(row.note.detail);
  if (!row.job.empty()) record.set_job(JobName(row.tenant, row.job));
  return record;
}

}  // namespace

grpc::Status QuantService::ListAuditRecords(grpc::ServerContext*, const v1::ListAuditRecordsRequest* request,
                                            v1::ListAuditRecordsResponse* response) {
  return AnswerRpc(parts_.metrics, "ListAuditRecords", [&] { return Audit(*request, response); });
}

absl::Status QuantService::Audit(const v1::ListAuditRecordsRequest& request, v1::ListAuditRecordsResponse* response) {
  ASSIGN_OR_RETURN(AuditQuery query, ParseAuditParent(request.parent()));
  const std::string binding = absl::StrCat("audit\n", query.all_tenants ? "-" : query.tenant, "\n", query.job);
  ASSIGN_OR_RETURN(query.limit, RowsForPage(request.page_size()));
  ASSIGN_OR_RETURN(query.before_sequence, ParsePageToken(request.page_token(), binding));
  ASSIGN_OR_RETURN(std::vector<AuditRow> rows, parts_.store.Audit(query));
  if (static_cast<int>(rows.size()) == query.limit) {
    rows.pop_back();
    response->set_next_page_token(PageToken(binding, rows.back().sequence));
  }
  for (const AuditRow& row : rows) *response->add_records() = ToMessage(row);
  return absl::OkStatus();
}

}  // namespace quantd
