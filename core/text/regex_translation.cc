#include "core/text/regex_translation.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/excerpt.h"
#include "core/base/status.h"
#include "core/text/utf8.h"

namespace quantd {
namespace {

constexpr int kMaxInterval = 1000;

// Escapes that stand for one character.
struct CharacterEscape {
  char letter;
  char32_t code_point;
};
constexpr CharacterEscape kCharacterEscapes[] = {{'t', '\t'}, {'n', '\n'}, {'r', '\r'}, {'f', '\f'},
                                                 {'v', '\v'}, {'a', '\a'}, {'e', 0x1B}};

// Escapes that stand for a set: the members as they are written inside [ ]. Oniguruma's \s is the Unicode property;
// PCRE2's own has U+180E in it. Oniguruma's \w has marks and connectors; PCRE2's own has neither.
struct SetEscape {
  char letter;
  const char* members;
};
constexpr char kWordMembers[] = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr SetEscape kSetEscapes[] = {
    {'s', R"(\p{White_Space})"}, {'S', R"(\P{White_Space})"}, {'d', R"(\p{Nd})"},
    {'D', R"(\P{Nd})"},          {'w', kWordMembers},
};

// Where the matcher asks whether to go on: at each place where a match may begin, and in each repetition of a group.
constexpr absl::string_view kCallout = "(?C1)";

constexpr absl::string_view kGroupOpenings[] = {"(?:", "(?>", "(?=", "(?!", "(?<=", "(?<!", "(?i:"};

constexpr absl::string_view kGeneralCategories[] = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps",
    "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Cn", "Co"};

std::string LiteralText(char32_t code_point) {
  if (code_point < 0x80 && !absl::ascii_isalnum(static_cast<unsigned char>(code_point))) {
    return absl::StrFormat("\\x{%x}", static_cast<uint32_t>(code_point));
  }
  std::string text;
  AppendUtf8(code_point, &text);
  return text;
}

class Translator {
 public:
  explicit Translator(absl::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run() {
    absl::StrAppend(&out_, kCallout);
    while (position_ < pattern_.size()) RETURN_IF_ERROR(Next());
    return std::move(out_);
  }

 private:
  absl::Status Next() {
    switch (pattern_[position_]) {
      case '(':
        return Group();
      case '[':
        ++position_;
        return Set();
      case '\\':
        return EscapeOutsideSet();
      case '*':
      case '+':
      case '?':
        return Quantifier();
      case '{':
        return Interval();
      case ')':
      case '|':
      case '.':
      case '^':
      case '$':
        out_ += pattern_[position_++];
        return absl::OkStatus();
      default:
        out_ += LiteralText(NextCodePoint(pattern_, &position_));
        return absl::OkStatus();
    }
  }

  absl::Status Refuse(absl::string_view construct) const {
    return InvalidInput("TOKENIZER_UNSUPPORTED",
                        absl::StrFormat("regular expression '%s': %s at byte %d is not supported",
                                        Excerpt(pattern_, 200), construct, position_));
  }

  bool Take(absl::string_view text) {
    if (!absl::StartsWith(pattern_.substr(position_), text)) return false;
    position_ += text.size();
    return true;
  }

  // Captures are never used: a plain group becomes a non-capturing one.
  absl::Status Group() {
    for (const absl::string_view opening : kGroupOpenings) {
      if (!Take(opening)) continue;
      absl::StrAppend(&out_, opening, kCallout);
      return absl::OkStatus();
    }
    if (absl::StartsWith(pattern_.substr(position_), "(?")) {
      return Refuse(absl::StrCat("group '", Excerpt(pattern_.substr(position_), 4), "'"));
    }
    ++position_;
    absl::StrAppend(&out_, "(?:", kCallout);
    return absl::OkStatus();
  }

  absl::Status Quantifier() {
    out_ += pattern_[position_++];
    if (position_ < pattern_.size() && (pattern_[position_] == '?' || pattern_[position_] == '+')) {
      out_ += pattern_[position_++];
    }
    return absl::OkStatus();
  }

  // {n} {n,} {,m} {n,m}; any other brace is a literal.
  absl::Status Interval() {
    const size_t end = pattern_.find('}', position_);
    const absl::string_view body =
        end == absl::string_view::npos ? "" : pattern_.substr(position_ + 1, end - position_ - 1);
    const bool is_interval = body.find_first_not_of("0123456789,") == absl::string_view::npos &&
                             body.find_first_of("0123456789") != absl::string_view::npos &&
                             std::count(body.begin(), body.end(), ',') <= 1;
    if (!is_interval) {
      out_ += LiteralText('{');
      ++position_;
      return absl::OkStatus();
    }
    return IntervalOf(body, end);
  }

  absl::Status IntervalOf(absl::string_view body, size_t end) {
    const size_t comma = body.find(',');
    const absl::string_view low = body.substr(0, comma);
    const absl::string_view high = comma == absl::string_view::npos ? low : body.substr(comma + 1);
    for (const absl::string_view bound : {low, high}) {
      int value = 0;
      if (!bound.empty() && (!absl::SimpleAtoi(bound, &value) || value > kMaxInterval)) {
        return Refuse(absl::StrCat("interval {", Excerpt(body), "} above ", kMaxInterval));
      }
    }
    const bool exact = comma == absl::string_view::npos;
    position_ = end + 1;
    absl::StrAppend(&out_, "{", low.empty() ? "0" : low, exact ? "" : ",", exact ? "" : high, "}");
    if (position_ == pattern_.size() || (pattern_[position_] != '+' && pattern_[position_] != '?')) {
      return absl::OkStatus();
    }
    // Oniguruma reads {n,m}+ as a greedy repetition of the repetition, and {n}? as "n times or not at all".
    if (pattern_[position_] == '+' || exact) return Refuse("a suffix of an interval");
    out_ += pattern_[position_++];
    return absl::OkStatus();
  }

  absl::Status EscapeOutsideSet() {
    if (Take("\\A")) {
      out_ += "\\A";
      return absl::OkStatus();
    }
    if (Take("\\z")) {
      out_ += "\\z";
      return absl::OkStatus();
    }
    std::string members;
    std::optional<char32_t> character;
    const bool negated = absl::StartsWith(pattern_.substr(position_), "\\W");
    if (negated) {
      position_ += 2;
      members = kWordMembers;
    } else {
      RETURN_IF_ERROR(Escape(&members, &character));
    }
    if (character.has_value()) {
      out_ += LiteralText(*character);
    } else {
      absl::StrAppend(&out_, negated ? "[^" : "[", members, "]");
    }
    return absl::OkStatus();
  }

  // One escape, either a character or the members of a set.
  absl::Status Escape(std::string* members, std::optional<char32_t>* character) {
    if (position_ + 1 >= pattern_.size()) return Refuse("a backslash at the end");
    const char letter = pattern_[position_ + 1];
    if (letter == 'p' || letter == 'P') return Property(members);
    if (letter == 'x' || letter == 'u') return HexCharacter(character);
    for (const SetEscape& escape : kSetEscapes) {
      if (escape.letter != letter) continue;
      position_ += 2;
      *members = escape.members;
      return absl::OkStatus();
    }
    for (const CharacterEscape& escape : kCharacterEscapes) {
      if (escape.letter != letter) continue;
      position_ += 2;
      *character = escape.code_point;
      return absl::OkStatus();
    }
    if (absl::ascii_isalnum(static_cast<unsigned char>(letter))) {
      return Refuse(absl::StrCat("escape '\\", absl::string_view(&letter, 1), "'"));
    }
    ++position_;
    *character = NextCodePoint(pattern_, &position_);
    return absl::OkStatus();
  }

  // \p{Name}, \P{Name}, \p{^Name}. Names other than general categories are scripts; PCRE2 would take "script
  // extensions" without the prefix.
  absl::Status Property(std::string* members) {
    const size_t end = pattern_.find('}', position_);
    if (end == absl::string_view::npos || pattern_[position_ + 2] != '{') return Refuse("a property without braces");
    absl::string_view name = pattern_.substr(position_ + 3, end - position_ - 3);
    bool negated = pattern_[position_ + 1] == 'P';
    if (absl::StartsWith(name, "^")) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const auto is_letter = [](char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_'; };
    if (name.empty() || !std::all_of(name.begin(), name.end(), is_letter)) {
      return Refuse(absl::StrCat("property '", Excerpt(name), "'"));
    }
    const bool category =
        std::find(std::begin(kGeneralCategories), std::end(kGeneralCategories), name) != std::end(kGeneralCategories);
    *members = absl::StrCat(negated ? "\\P{" : "\\p{", category ? "" : "sc:", name, "}");
    position_ = end + 1;
    return absl::OkStatus();
  }

  absl::Status HexCharacter(std::optional<char32_t>* character) {
    const bool braced = pattern_[position_ + 1] == 'x' && absl::StartsWith(pattern_.substr(position_ + 2), "{");
    const size_t begin = position_ + (braced ? 3 : 2);
    const size_t wanted = pattern_[position_ + 1] == 'u' ? 4 : 2;
    const size_t end = braced ? pattern_.find('}', begin) : begin + wanted;
    if (end == absl::string_view::npos || end > pattern_.size()) return Refuse("an unfinished hexadecimal escape");
    const absl::string_view digits = pattern_.substr(begin, end - begin);
    uint32_t value = 0;
    const bool all_hex = digits.find_first_not_of("0123456789abcdefABCDEF") == absl::string_view::npos;
    // Without braces \xHH names a byte, which is a character only below 0x80.
    if (!all_hex || digits.size() > 6 || !absl::SimpleHexAtoi(digits, &value) || value > 0x10FFFF ||
        (value >= 0xD800 && value < 0xE000) || (wanted == 2 && !braced && value >= 0x80)) {
      return Refuse(absl::StrCat("hexadecimal escape of '", Excerpt(digits), "'"));
    }
    *character = value;
    position_ = braced ? end + 1 : end;
    return absl::OkStatus();
  }

  // After the opening bracket.
  absl::Status Set() {
    out_ += '[';
    if (Take("^")) out_ += '^';
    if (absl::StartsWith(pattern_.substr(position_), "]")) return Refuse("']' as the first member of a set");
    RETURN_IF_ERROR(SetMembers());
    out_ += ']';
    return absl::OkStatus();
  }

  // A nested positive set is a union with its surroundings, whether these are negated or not.
  absl::Status SetMembers() {
    int depth = 1;
    while (position_ < pattern_.size()) {
      if (Take("]")) {
        if (--depth == 0) return absl::OkStatus();
      } else if (absl::StartsWith(pattern_.substr(position_), "&&")) {
        return Refuse("an intersection of sets");
      } else if (absl::StartsWith(pattern_.substr(position_), "[^") ||
                 absl::StartsWith(pattern_.substr(position_), "[:") ||
                 absl::StartsWith(pattern_.substr(position_), "[]")) {
        return Refuse(absl::StrCat("'", pattern_.substr(position_, 2), "' in a set"));
      } else if (Take("[")) {
        ++depth;
      } else {
        RETURN_IF_ERROR(SetMember());
      }
    }
    return Refuse("a set that does not end");
  }

  absl::Status SetMember() {
    std::string members;
    std::optional<char32_t> first;
    RETURN_IF_ERROR(SetElement(&members, &first));
    if (!first.has_value()) {
      out_ += members;
      return absl::OkStatus();
    }
    out_ += LiteralText(*first);
    const absl::string_view rest = pattern_.substr(position_);
    if (rest.size() < 2 || rest[0] != '-' || rest[1] == ']') return absl::OkStatus();
    ++position_;
    if (rest[1] == '[') return Refuse("a range that ends in a set");
    std::optional<char32_t> last;
    RETURN_IF_ERROR(SetElement(&members, &last));
    if (!last.has_value() || *last < *first) return Refuse("a range without an end");
    absl::StrAppend(&out_, "-", LiteralText(*last));
    return absl::OkStatus();
  }

  absl::Status SetElement(std::string* members, std::optional<char32_t>* character) {
    if (pattern_[position_] == '\\') return Escape(members, character);
    *character = NextCodePoint(pattern_, &position_);
    return absl::OkStatus();
  }

  absl::string_view pattern_;
  size_t position_ = 0;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> TranslateRegex(absl::string_view pattern) {
  if (pattern.size() > kMaxRegexBytes) {
    return InvalidInput("TOKENIZER_UNSUPPORTED", absl::StrFormat("a regular expression of %d bytes; the limit is %d",
                                                                 pattern.size(), kMaxRegexBytes));
  }
  return Translator(pattern).Run();
}

}  // namespace quantd
