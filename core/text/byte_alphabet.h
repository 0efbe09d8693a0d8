// The printable alphabet of byte-level BPE: 256 characters, one for each byte. Printable bytes of Latin-1 stand for
// themselves; the others, in ascending order, for U+0100, U+0101, ...
#ifndef QUANTD_CORE_TEXT_BYTE_ALPHABET_H_
#define QUANTD_CORE_TEXT_BYTE_ALPHABET_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

char32_t AlphabetCharacter(uint8_t byte);

// `bytes` spelled in the alphabet: " a" -> "Ġa".
std::string SpellBytes(absl::string_view bytes);

// The bytes that `spelling` (valid UTF-8) stands for; nothing when a character is not of the alphabet.
std::optional<std::string> SpelledBytes(absl::string_view spelling);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_BYTE_ALPHABET_H_
