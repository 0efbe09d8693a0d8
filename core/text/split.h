// What becomes of the matches when a text is split by a pattern.
#ifndef QUANTD_CORE_TEXT_SPLIT_H_
#define QUANTD_CORE_TEXT_SPLIT_H_

#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/text/regex.h"

namespace quantd {

enum class SplitBehavior {
  kRemoved,             // matches are dropped
  kIsolated,            // each match is a piece
  kMergedWithPrevious,  // a match ends the piece before it
  kMergedWithNext,      // a match begins the piece after it
  kContiguous,          // a run of adjacent matches is one piece
};

// By its name in tokenizer.json; nothing when unknown.
std::optional<SplitBehavior> SplitBehaviorNamed(absl::string_view name);

struct SplitRule {
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // what is between the matches counts as match
};

// Cuts a text of `size` bytes at `matches`, ascending and not overlapping. Empty parts are left out.
std::vector<Match> SplitAtMatches(size_t size, const std::vector<Match>& matches, SplitRule rule);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_SPLIT_H_
