// {"String": "..."} or {"Regex": "..."}, as normalizers, pre-tokenizers and decoders of tokenizer.json name what they
// look for.
#ifndef QUANTD_CORE_TEXT_TEXT_PATTERN_H_
#define QUANTD_CORE_TEXT_TEXT_PATTERN_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/json.h"
#include "core/text/regex.h"

namespace quantd {

class TextPattern {
 public:
  // `what` names the file and part in messages. TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED.
  static absl::StatusOr<TextPattern> FromJson(const Json& pattern, absl::string_view what);
  static absl::StatusOr<TextPattern> FromRegex(absl::string_view regex);

  absl::Status FindAll(absl::string_view text, RegexScratch* scratch, std::vector<Match>* matches) const;
  // `text` with every match replaced by `content`, taken as it is.
  absl::StatusOr<std::string> ReplaceAll(absl::string_view text, absl::string_view content,
                                         RegexScratch* scratch) const;

 private:
  std::string literal_;
  std::optional<Regex> regex_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_TEXT_PATTERN_H_
