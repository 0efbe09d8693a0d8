#include "server/api/page_token.h"

#include <algorithm>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/base/sha256.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int kDefaultPageSize = 50;
constexpr int kMaxPageSize = 1000;
constexpr size_t kTokenDigits = 16;

// Not a secret: it only keeps a token from being used with other arguments by mistake.
std::string TokenCheck(absl::string_view binding, absl::string_view sequence) {
  return Sha256Hex(absl::StrCat(binding, "\n", sequence)).substr(0, kTokenDigits);
}

}  // namespace

std::string PageToken(absl::string_view binding, int64_t last_sequence) {
  const std::string sequence = absl::StrCat(last_sequence);
  return absl::StrCat(sequence, "-", TokenCheck(binding, sequence));
}

absl::StatusOr<int64_t> ParsePageToken(absl::string_view token, absl::string_view binding) {
  if (token.empty()) return 0;
  const std::vector<absl::string_view> parts = absl::StrSplit(token, '-');
  int64_t sequence = 0;
  if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &sequence) && sequence > 0 &&
      parts[1] == TokenCheck(binding, parts[0])) {
    return sequence;
  }
  return WithField(
      InvalidInput("PAGE_TOKEN_INVALID",
                   "page_token does not come from a previous answer with the same parent and filter; begin "
                   "again without one"),
      "page_token");
}

absl::StatusOr<int> RowsForPage(int32_t page_size) {
  if (page_size < 0) {
    return WithField(
        InvalidInput("PAGE_SIZE_INVALID",
                     absl::StrFormat("page_size is %d; it must be 0 (the default) to %d", page_size, kMaxPageSize)),
        "page_size");
  }
  return std::min(page_size == 0 ? kDefaultPageSize : page_size, kMaxPageSize) + 1;
}

}  // namespace quantd
