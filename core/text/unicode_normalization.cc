#include "core/text/unicode_normalization.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/text/unicode_tables.h"
#include "core/text/utf8.h"

namespace quantd {
namespace {

// Hangul syllables (The Unicode Standard, section 3.12): L V and LV T, at fixed places.
constexpr char32_t kSyllableBase = 0xAC00;
constexpr char32_t kLeadBase = 0x1100;
constexpr char32_t kVowelBase = 0x1161;
constexpr char32_t kTrailBase = 0x11A7;
constexpr char32_t kLeads = 19;
constexpr char32_t kVowels = 21;
constexpr char32_t kTrails = 28;
constexpr char32_t kSyllables = kLeads * kVowels * kTrails;

// Below it every character is its own NFC and no mark; ASCII alone is its own NFD.
constexpr char32_t kFirstMark = 0x300;

int CombiningClass(char32_t c) {
  if (c < kFirstMark) return 0;
  const auto ranges = UnicodeCombiningRanges();
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), c,
                                      [](char32_t value, const UnicodeCombiningRange& r) { return value < r.first; });
  if (after == ranges.begin() || c > (after - 1)->last) return 0;
  return (after - 1)->combining_class;
}

const UnicodeDecomposition* FindDecomposition(char32_t c) {
  const auto table = UnicodeDecompositions();
  const auto found =
      std::lower_bound(table.begin(), table.end(), c,
                       [](const UnicodeDecomposition& row, char32_t value) { return row.composed < value; });
  return found != table.end() && found->composed == c ? &*found : nullptr;
}

void Decompose(char32_t c, std::vector<char32_t>* out) {
  if (c >= kSyllableBase && c < kSyllableBase + kSyllables) {
    const char32_t index = c - kSyllableBase;
    out->push_back(kLeadBase + index / (kVowels * kTrails));
    out->push_back(kVowelBase + index / kTrails % kVowels);
    if (index % kTrails != 0) out->push_back(kTrailBase + index % kTrails);
    return;
  }
  const UnicodeDecomposition* row = c < 0x80 ? nullptr : FindDecomposition(c);
  if (row == nullptr) return out->push_back(c);
  Decompose(row->first, out);
  if (row->second != 0) out->push_back(row->second);
}

// Marks in a row are put into ascending order of class, equal ones left as they are.
void OrderMarks(std::vector<char32_t>* text) {
  for (auto begin = text->begin(); begin != text->end();) {
    const auto is_mark = [](char32_t c) { return CombiningClass(c) != 0; };
    begin = std::find_if(begin, text->end(), is_mark);
    const auto end = std::find_if_not(begin, text->end(), is_mark);
    if (end - begin > 1) {
      std::stable_sort(begin, end, [](char32_t a, char32_t b) { return CombiningClass(a) < CombiningClass(b); });
    }
    begin = end;
  }
}

using Compositions = std::unordered_map<uint64_t, char32_t>;

uint64_t PairKey(char32_t first, char32_t second) {
  return (static_cast<uint64_t>(first) << 32) | second;
}

const Compositions& AllCompositions() {
  static const Compositions* const kCompositions = [] {
    auto* compositions = new Compositions();
    for (const UnicodeDecomposition& row : UnicodeDecompositions()) {
      if (row.composes) compositions->emplace(PairKey(row.first, row.second), row.composed);
    }
    return compositions;
  }();
  return *kCompositions;
}

// 0 when the two do not compose.
char32_t Composed(char32_t first, char32_t second) {
  if (first >= kLeadBase && first < kLeadBase + kLeads && second >= kVowelBase && second < kVowelBase + kVowels) {
    return kSyllableBase + ((first - kLeadBase) * kVowels + (second - kVowelBase)) * kTrails;
  }
  const bool is_lv =
      first >= kSyllableBase && first < kSyllableBase + kSyllables && (first - kSyllableBase) % kTrails == 0;
  if (is_lv && second > kTrailBase && second < kTrailBase + kTrails) return first + (second - kTrailBase);
  const auto found = AllCompositions().find(PairKey(first, second));
  return found == AllCompositions().end() ? 0 : found->second;
}

// A character is taken up by the last starter when nothing between them blocks it: only marks of a lower class are
// there.
void Compose(std::vector<char32_t>* text) {
  size_t size = 0;
  size_t starter = SIZE_MAX;
  int last_class = -1;  // of the character before, -1 directly after the starter
  for (const char32_t c : *text) {
    const int c_class = CombiningClass(c);
    if (starter != SIZE_MAX && last_class < c_class) {
      const char32_t composed = Composed((*text)[starter], c);
      if (composed != 0) {
        (*text)[starter] = composed;
        continue;
      }
    }
    if (c_class == 0) starter = size;
    last_class = c_class == 0 ? -1 : c_class;
    (*text)[size++] = c;
  }
  text->resize(size);
}

bool AllBelow(absl::string_view text, char32_t limit) {
  for (size_t position = 0; position < text.size();) {
    if (NextCodePoint(text, &position) >= limit) return false;
  }
  return true;
}

std::vector<char32_t> Decomposed(absl::string_view text) {
  std::vector<char32_t> out;
  out.reserve(text.size());
  for (size_t position = 0; position < text.size();) Decompose(NextCodePoint(text, &position), &out);
  OrderMarks(&out);
  return out;
}

std::string Encoded(const std::vector<char32_t>& text) {
  std::string out;
  for (const char32_t c : text) AppendUtf8(c, &out);
  return out;
}

}  // namespace

std::string ToNfc(absl::string_view text) {
  if (AllBelow(text, kFirstMark)) return std::string(text);
  std::vector<char32_t> characters = Decomposed(text);
  Compose(&characters);
  return Encoded(characters);
}

std::string ToNfd(absl::string_view text) {
  if (AllBelow(text, 0x80)) return std::string(text);
  return Encoded(Decomposed(text));
}

}  // namespace quantd
