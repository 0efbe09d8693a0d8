// Helps a person who mistyped a name.
#ifndef QUANTD_CORE_QUANT_NAME_SUGGESTION_H_
#define QUANTD_CORE_QUANT_NAME_SUGGESTION_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

// "known: a, b, c; did you mean 'b'?"; the question only when some name is close to `given`.
std::string KnownNames(absl::Span<const std::string> known, absl::string_view given);

// The name with the fewest single-character edits from `given`, or "" when even that one needs more than a third of its
// length (at least two).
std::string NearestName(absl::Span<const std::string> known, absl::string_view given);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_NAME_SUGGESTION_H_
