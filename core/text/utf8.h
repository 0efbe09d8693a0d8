// UTF-8 as text files, vocabularies and decoders need it.
#ifndef QUANTD_CORE_TEXT_UTF8_H_
#define QUANTD_CORE_TEXT_UTF8_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

// Offset of the first byte that does not begin or continue a well-formed sequence (Unicode table 3-7: no surrogates, no
// overlong forms, nothing above U+10FFFF); nothing when all is well.
std::optional<size_t> FirstInvalidUtf8(absl::string_view bytes);

// The code point at `*position`, which moves behind it. `text` is valid UTF-8 and `*position` a boundary inside it.
char32_t NextCodePoint(absl::string_view text, size_t* position);

void AppendUtf8(char32_t code_point, std::string* out);

// Every maximal broken part becomes one U+FFFD (Unicode 3.9, "substitution of maximal subparts").
std::string LossyUtf8(absl::string_view bytes);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_UTF8_H_
