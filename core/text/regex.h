// Patterns of tokenizer files: a literal string or a regular expression, found without backtracking forever.
#ifndef QUANTD_CORE_TEXT_REGEX_H_
#define QUANTD_CORE_TEXT_REGEX_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

// Working memory and time budget of matching. One per thread and text; costs a few allocations.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

struct Match {
  size_t begin;
  size_t end;
};

// Immutable and thread-safe.
class Regex {
 public:
  // `pattern` in Oniguruma's syntax (regex_translation.h). TOKENIZER_UNSUPPORTED.
  static absl::StatusOr<Regex> Compile(absl::string_view pattern);

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // Appends the matches in `text` (valid UTF-8), leftmost first, not overlapping; an empty one only where the match
  // before it did not end.
  // TOKENIZER_REGEX_LIMIT when one match needs more than the fixed number of steps or amount of memory, or all matching
  // since `scratch` was made more processor time than 30 s and 5 s a megabyte.
  absl::Status FindAll(absl::string_view text, RegexScratch* scratch, std::vector<Match>* matches) const;

 private:
  struct Code;
  Regex();
  std::string pattern_;
  std::unique_ptr<Code> code_;
};

// Matches of a literal, as FindAll above.
void FindAllLiteral(absl::string_view text, absl::string_view literal, std::vector<Match>* matches);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_REGEX_H_
