// What normalization needs of the Unicode Character Database. The .cc file is written by scripts/make-unicode-tables.
#ifndef QUANTD_CORE_TEXT_UNICODE_TABLES_H_
#define QUANTD_CORE_TEXT_UNICODE_TABLES_H_

#include <cstdint>

#include "absl/types/span.h"

namespace quantd {

// Canonical decomposition of one step; Hangul syllables, which are computed, are left out.
struct UnicodeDecomposition {
  char32_t composed;
  char32_t first;
  char32_t second;  // 0: a single character
  bool composes;    // NFC puts the two together again
};
absl::Span<const UnicodeDecomposition> UnicodeDecompositions();  // ascending by `composed`

// Characters with a combining class other than 0.
struct UnicodeCombiningRange {
  char32_t first;
  char32_t last;
  uint8_t combining_class;
};
absl::Span<const UnicodeCombiningRange> UnicodeCombiningRanges();  // ascending, not overlapping

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_UNICODE_TABLES_H_
