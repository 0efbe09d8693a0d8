#include "server/store/request_ids.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "server/store/job_rows.h"
#include "server/store/request_digest.h"

namespace quantd {

absl::StatusOr<std::optional<JobRecord>> MatchRequest(SqlConnection& connection, absl::string_view tenant,
                                                      absl::string_view request_id, const v1::QuantJobSpec& spec) {
  if (request_id.empty()) return std::nullopt;
  const auto query = connection.Prepare(
      SelectJobs("WHERE sequence = (SELECT job FROM requests WHERE tenant = ?1 AND request_id = ?2)"));
  query->BindText(1, tenant).BindText(2, request_id);
  ASSIGN_OR_RETURN(std::optional<JobRecord> known, ReadOneJob(*query));
  if (!known.has_value()) return known;
  const std::string difference = FirstDifference(known->job.spec(), spec);
  if (difference.empty()) return known;
  const std::string field = absl::StrCat("spec.", difference);
  return WithField(
      ReasonError(absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                  absl::StrFormat("request_id %s was used for job %s, whose %s differs; a new job needs a new id",
                                  request_id, known->job.name(), field)),
      field);
}

absl::Status InsertRequest(SqlConnection& connection, const NewJob& job, int64_t sequence) {
  if (job.request_id.empty()) return absl::OkStatus();
  const auto insert =
      connection.Prepare("INSERT INTO requests (tenant, request_id, job, create_us) VALUES (?1, ?2, ?3, ?4)");
  insert->BindText(1, job.tenant).BindText(2, job.request_id).Bind(3, sequence);
  return insert->Bind(4, absl::ToUnixMicros(job.create_time)).Run();
}

absl::StatusOr<int64_t> DeleteOldRequests(SqlConnection& connection, absl::Time before, int limit) {
  // Jobs are numbered in the order of their submission, so the oldest requests are found without a scan.
  const auto drop = connection.Prepare(
      "DELETE FROM requests WHERE create_us < ?1 AND job IN (SELECT job FROM requests ORDER BY job LIMIT ?2)");
  RETURN_IF_ERROR(drop->Bind(1, absl::ToUnixMicros(before)).Bind(2, limit).Run());
  return drop->changes();
}

}  // namespace quantd
