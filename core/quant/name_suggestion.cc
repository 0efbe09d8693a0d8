#include "core/quant/name_suggestion.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quantd {
namespace {

// Names are short; what a stranger typed need not be.
constexpr size_t kLongestGuess = 64;

// Levenshtein distance by rows.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string NearestName(absl::Span<const std::string> known, absl::string_view given) {
  if (given.size() > kLongestGuess) return "";
  std::string best;
  size_t best_distance = kLongestGuess;
  for (const std::string& name : known) {
    const size_t distance = EditDistance(given, name);
    if (distance < best_distance && distance <= std::max<size_t>(2, name.size() / 3)) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

std::string KnownNames(absl::Span<const std::string> known, absl::string_view given) {
  std::string text = absl::StrCat("known: ", absl::StrJoin(known, ", "));
  const std::string nearest = NearestName(known, given);
  if (!nearest.empty()) absl::StrAppend(&text, "; did you mean '", nearest, "'?");
  return text;
}

}  // namespace quantd
