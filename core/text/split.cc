#include "core/text/split.h"

#include <algorithm>

namespace quantd {
namespace {

struct Part {
  size_t begin;
  size_t end;
  bool is_match;
};

struct BehaviorName {
  const char* name;
  SplitBehavior behavior;
};
constexpr BehaviorName kBehaviorNames[] = {{"Removed", SplitBehavior::kRemoved},
                                           {"Isolated", SplitBehavior::kIsolated},
                                           {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
                                           {"MergedWithNext", SplitBehavior::kMergedWithNext},
                                           {"Contiguous", SplitBehavior::kContiguous}};

std::vector<Part> AllParts(size_t size, const std::vector<Match>& matches, bool invert) {
  std::vector<Part> parts;
  parts.reserve(2 * matches.size() + 1);
  size_t position = 0;
  for (const Match& match : matches) {
    if (position < match.begin) parts.push_back({position, match.begin, invert});
    parts.push_back({match.begin, match.end, !invert});
    position = match.end;
  }
  if (position < size) parts.push_back({position, size, invert});
  return parts;
}

std::vector<Part> MergeContiguous(const std::vector<Part>& parts) {
  std::vector<Part> merged;
  for (const Part& part : parts) {
    if (!merged.empty() && merged.back().is_match == part.is_match) {
      merged.back().end = part.end;
    } else {
      merged.push_back(part);
    }
  }
  return merged;
}

// Of several matches in a row only the first joins the piece before it.
std::vector<Part> MergePrevious(const std::vector<Part>& parts) {
  std::vector<Part> merged;
  bool previous_is_match = false;
  for (const Part& part : parts) {
    if (part.is_match && !previous_is_match && !merged.empty()) {
      merged.back().end = part.end;
    } else {
      merged.push_back(part);
    }
    previous_is_match = part.is_match;
  }
  return merged;
}

// The same from the other end: only the last of several matches joins the piece after it.
std::vector<Part> MergeNext(const std::vector<Part>& parts) {
  std::vector<Part> merged;
  bool next_is_match = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->is_match && !next_is_match && !merged.empty()) {
      merged.back().begin = part->begin;
    } else {
      merged.push_back(*part);
    }
    next_is_match = part->is_match;
  }
  std::reverse(merged.begin(), merged.end());
  return merged;
}

std::vector<Part> WithoutMatches(std::vector<Part> parts) {
  parts.erase(std::remove_if(parts.begin(), parts.end(), [](const Part& part) { return part.is_match; }), parts.end());
  return parts;
}

std::vector<Part> Apply(SplitBehavior behavior, std::vector<Part> parts) {
  switch (behavior) {
    case SplitBehavior::kRemoved:
      return WithoutMatches(std::move(parts));
    case SplitBehavior::kMergedWithPrevious:
      return MergePrevious(parts);
    case SplitBehavior::kMergedWithNext:
      return MergeNext(parts);
    case SplitBehavior::kContiguous:
      return MergeContiguous(parts);
    case SplitBehavior::kIsolated:
      break;
  }
  return parts;
}

}  // namespace

std::optional<SplitBehavior> SplitBehaviorNamed(absl::string_view name) {
  for (const BehaviorName& row : kBehaviorNames) {
    if (row.name == name) return row.behavior;
  }
  return std::nullopt;
}

std::vector<Match> SplitAtMatches(size_t size, const std::vector<Match>& matches, SplitRule rule) {
  std::vector<Match> kept;
  for (const Part& part : Apply(rule.behavior, AllParts(size, matches, rule.invert))) {
    if (part.begin < part.end) kept.push_back({part.begin, part.end});
  }
  return kept;
}

}  // namespace quantd
