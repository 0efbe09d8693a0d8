// Names of resources as requests give them.
#ifndef QUANTD_SERVER_API_RESOURCE_NAMES_H_
#define QUANTD_SERVER_API_RESOURCE_NAMES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/resource_name.h"

namespace quantd {

// The tenant of "tenants/{tenant}"; the default one of "". Any tenant with a valid id is there: it has no jobs yet.
// INVALID_ARGUMENT PARENT_INVALID.
absl::StatusOr<std::string> ParseParent(absl::string_view parent);

// INVALID_ARGUMENT NAME_INVALID.
absl::StatusOr<JobNameParts> ParseJobName(absl::string_view name);

// "job-" and 12 random characters.
std::string RandomJobId();

// A UUID in its usual 36 characters, any version.
bool IsUuid(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_SERVER_API_RESOURCE_NAMES_H_
