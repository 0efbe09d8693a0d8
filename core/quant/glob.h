// Patterns over module names.
#ifndef QUANTD_CORE_QUANT_GLOB_H_
#define QUANTD_CORE_QUANT_GLOB_H_

#include "absl/strings/string_view.h"

namespace quantd {

// True when `pattern` matches the whole of `text`: `*` any run of characters (dots too), `?` one character, anything
// else itself. Time is at most pattern times text, whatever the pattern.
bool GlobMatches(absl::string_view pattern, absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_GLOB_H_
