// Classes of characters that pre-tokenizers and added tokens ask for, one character at a time.
#ifndef QUANTD_CORE_TEXT_UNICODE_CLASSES_H_
#define QUANTD_CORE_TEXT_UNICODE_CLASSES_H_

#include "absl/strings/string_view.h"

namespace quantd {

// Property White_Space.
bool IsWhiteSpace(char32_t code_point);

// Bytes of white space at the beginning and at the end of `text` (valid UTF-8).
size_t LeadingWhiteSpace(absl::string_view text);
size_t TrailingWhiteSpace(absl::string_view text);

// The first character, the last one: letters, marks, decimal digits, connectors, joiners.
bool BeginsWithWordCharacter(absl::string_view text);
bool EndsWithWordCharacter(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_UNICODE_CLASSES_H_
