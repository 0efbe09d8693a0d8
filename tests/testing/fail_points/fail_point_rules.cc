#include "tests/testing/fail_points/fail_point_rules.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/durable_step.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int64_t kMaxSleepMs = 600'000;

absl::Status BadAction(absl::string_view item) {
  return InvalidInput("FAIL_POINT_ACTION_INVALID",
                      absl::StrFormat("'%s': the action is exit, error or sleep:MILLISECONDS (up to %d), then perhaps "
                                      "@N with N from 1",
                                      item, kMaxSleepMs));
}

absl::StatusOr<FailPointRule> ParseRule(absl::string_view text, absl::string_view item) {
  FailPointRule rule;
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('@', 1));
  const bool numbered = absl::StrContains(text, '@');
  if (numbered && (!absl::SimpleAtoi(parts.second, &rule.only_pass) || rule.only_pass < 1)) return BadAction(item);
  absl::string_view action = parts.first;
  int64_t sleep_ms = 0;
  if (action == "exit") {
    rule.action = FailPointAction::kExit;
  } else if (action == "error") {
    rule.action = FailPointAction::kError;
  } else if (absl::ConsumePrefix(&action, "sleep:") && absl::SimpleAtoi(action, &sleep_ms) && sleep_ms >= 0 &&
             sleep_ms <= kMaxSleepMs) {
    rule.action = FailPointAction::kSleep;
    rule.sleep = absl::Milliseconds(sleep_ms);
  } else {
    return BadAction(item);
  }
  return rule;
}

}  // namespace

std::vector<std::string> FailPointNames() {
  std::vector<std::string> names;
  for (const DurableStepInfo& info : DurableSteps()) {
    names.push_back(absl::StrCat(info.name, ".before"));
    names.push_back(absl::StrCat(info.name, ".after"));
  }
  return names;
}

absl::StatusOr<std::map<std::string, FailPointRule>> ParseFailPoints(absl::string_view text) {
  const std::vector<std::string> names = FailPointNames();
  std::map<std::string, FailPointRule> rules;
  for (const absl::string_view item : absl::StrSplit(text, ';', absl::SkipWhitespace())) {
    const std::pair<std::string, absl::string_view> parts = absl::StrSplit(item, absl::MaxSplits('=', 1));
    if (std::find(names.begin(), names.end(), parts.first) == names.end()) {
      return InvalidInput(
          "FAIL_POINT_UNKNOWN",
          absl::StrFormat("'%s' is no fail point; core/base/durable_step.cc has the steps, and each has "
                          "a point STEP.before and STEP.after",
                          parts.first));
    }
    ASSIGN_OR_RETURN(rules[parts.first], ParseRule(parts.second, item));
  }
  return rules;
}

}  // namespace quantd
