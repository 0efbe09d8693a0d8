// Text from outside, cut to a size.
#ifndef QUANTD_SERVER_ERRORS_TEXT_LIMITS_H_
#define QUANTD_SERVER_ERRORS_TEXT_LIMITS_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

// The longest beginning of at most `max_bytes` that does not end inside a UTF-8 sequence.
std::string KeepBeginning(absl::string_view text, size_t max_bytes);
// The longest end of at most `max_bytes` that does not begin inside one.
std::string KeepEnd(absl::string_view text, size_t max_bytes);

}  // namespace quantd

#endif  // QUANTD_SERVER_ERRORS_TEXT_LIMITS_H_
