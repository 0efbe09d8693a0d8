// Regular expressions of tokenizer files, rewritten for PCRE2.
//
// tokenizer.json is written for Oniguruma (Ruby syntax). The two engines read many constructs differently: nested sets,
// `\s`, `\w`, `\v`, `\h`, `{,n}`, script names, possessive intervals. Each construct with one meaning in Oniguruma is
// rewritten into PCRE2's spelling of that meaning; every other one is refused by name rather than guessed.
//
// Accepted: literals, `.`, `^` and `$` (at every line), `\A`, `\z`, alternation, groups, `(?:`, `(?>`, `(?i:`,
// look-ahead and look-behind, greedy, lazy and possessive `* + ?`, greedy and lazy intervals, sets with nested positive
// sets, `\s \S \d \D \w \p{..} \P{..}`, `\W` outside sets,
// `\t \n \r \f \v`, `\xHH`, `\x{H..}`, `\uHHHH`.
#ifndef QUANTD_CORE_TEXT_REGEX_TRANSLATION_H_
#define QUANTD_CORE_TEXT_REGEX_TRANSLATION_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

inline constexpr size_t kMaxRegexBytes = 8192;

// `pattern` is valid UTF-8. The result has callouts 1 where the matcher may be stopped. Reason: TOKENIZER_UNSUPPORTED,
// naming the construct and its byte offset.
absl::StatusOr<std::string> TranslateRegex(absl::string_view pattern);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_REGEX_TRANSLATION_H_
