// Canonical normalization (Unicode Standard Annex 15). Tables: Unicode 14.0, made by scripts/make-unicode-tables.
#ifndef QUANTD_CORE_TEXT_UNICODE_NORMALIZATION_H_
#define QUANTD_CORE_TEXT_UNICODE_NORMALIZATION_H_

#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

// `text` is valid UTF-8.
std::string ToNfc(absl::string_view text);
std::string ToNfd(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_UNICODE_NORMALIZATION_H_
