// Page tokens: where a list goes on, bound to what was asked.
#ifndef QUANTD_SERVER_API_PAGE_TOKEN_H_
#define QUANTD_SERVER_API_PAGE_TOKEN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

// Continues after the row with this sequence; valid only with the same `binding`, a text of all other arguments.
std::string PageToken(absl::string_view binding, int64_t last_sequence);

// The sequence; 0 for an empty token. INVALID_ARGUMENT PAGE_TOKEN_INVALID.
absl::StatusOr<int64_t> ParsePageToken(absl::string_view token, absl::string_view binding);

// Rows to read for a page: one more than it shows, so that the caller sees whether another page follows. 0 is the
// default of 50; more than 1000 become 1000. INVALID_ARGUMENT PAGE_SIZE_INVALID.
absl::StatusOr<int> RowsForPage(int32_t page_size);

}  // namespace quantd

#endif  // QUANTD_SERVER_API_PAGE_TOKEN_H_
