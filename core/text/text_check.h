// What every text must be before it is encoded.
#ifndef QUANTD_CORE_TEXT_TEXT_CHECK_H_
#define QUANTD_CORE_TEXT_TEXT_CHECK_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantd {

inline constexpr size_t kMaxTextBytes = size_t{1} << 30;  // positions inside a text are 32 bits wide

// TEXT_NOT_UTF8 with the offset of the first bad byte, TEXT_TOO_LARGE.
absl::Status CheckText(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_TEXT_CHECK_H_
