// What ListQuantJobs is asked for: filter and page tokens.
#ifndef QUANTD_SERVER_API_LIST_QUERY_H_
#define QUANTD_SERVER_API_LIST_QUERY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quantd/v1/quant_service.pb.h"
#include "server/store/job_store.h"

namespace quantd {

// filter = term { "AND" term }, term = key "=" value { "OR" value }, key = "state" | "recipe" | "model"; each key once,
// at most 32 values in all, 1 KiB of text. Values are words or "quoted". OR binds tighter than AND. Restricts `query`.
// INVALID_ARGUMENT FILTER_INVALID says what was expected where.
absl::Status ParseFilter(absl::string_view filter, JobQuery& query);

// INVALID_ARGUMENT PARENT_INVALID, PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID, FILTER_INVALID. The limit is one job more
// than the page has, so that the caller sees whether a next page exists.
absl::StatusOr<JobQuery> ParseListRequest(const v1::ListQuantJobsRequest& request);

// Continues after `last`; bound to the request's parent, filter and show_deleted.
std::string NextPageToken(const v1::ListQuantJobsRequest& request, const JobRecord& last);

}  // namespace quantd

#endif  // QUANTD_SERVER_API_LIST_QUERY_H_
