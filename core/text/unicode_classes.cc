#include "core/text/unicode_classes.h"

#include <cstdint>
#include <vector>

#include "absl/strings/ascii.h"
#include "core/base/excerpt.h"
#include "core/text/regex.h"
#include "core/text/utf8.h"

namespace quantd {
namespace {

size_t LastCharacterBegin(absl::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && IsUtf8Continuation(text[begin])) --begin;
  return begin;
}

// Asked for around a found single-word token only, so a pattern matched on one character is fast enough where the
// character is not ASCII.
bool IsWordCharacter(absl::string_view character) {
  if (character.size() == 1) return absl::ascii_isalnum(static_cast<unsigned char>(character[0])) || character == "_";
  static const absl::StatusOr<Regex> kWord = Regex::Compile("[\\w\\u200C\\u200D]");
  RegexScratch scratch;
  std::vector<Match> matches;
  return kWord.ok() && kWord->FindAll(character, &scratch, &matches).ok() && !matches.empty();
}

}  // namespace

bool IsWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t LeadingWhiteSpace(absl::string_view text) {
  size_t end = 0;
  for (size_t position = 0; position < text.size(); end = position) {
    if (!IsWhiteSpace(NextCodePoint(text, &position))) break;
  }
  return end;
}

size_t TrailingWhiteSpace(absl::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t begin = LastCharacterBegin(text.substr(0, end));
    size_t position = begin;
    if (!IsWhiteSpace(NextCodePoint(text, &position))) break;
    end = begin;
  }
  return text.size() - end;
}

bool BeginsWithWordCharacter(absl::string_view text) {
  if (text.empty()) return false;
  size_t end = 0;
  NextCodePoint(text, &end);
  return IsWordCharacter(text.substr(0, end));
}

bool EndsWithWordCharacter(absl::string_view text) {
  return !text.empty() && IsWordCharacter(text.substr(LastCharacterBegin(text)));
}

}  // namespace quantd
