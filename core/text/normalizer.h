// What tokenizer.json does to a text before it is cut into pieces.
//
// Supported: Sequence, Prepend, Replace (text or regular expression), Strip, NFC, NFD. Others are refused by name.
#ifndef QUANTD_CORE_TEXT_NORMALIZER_H_
#define QUANTD_CORE_TEXT_NORMALIZER_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/json.h"
#include "core/text/regex.h"

namespace quantd {

// Immutable and thread-safe.
class Normalizer {
 public:
  // From the member "normalizer" of `document`. TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED.
  static absl::StatusOr<Normalizer> FromJson(const Json& document, absl::string_view file);

  bool empty() const { return steps_.empty(); }
  absl::StatusOr<std::string> Normalize(absl::string_view text, RegexScratch* scratch) const;

 private:
  using Step = std::function<absl::StatusOr<std::string>(std::string text, RegexScratch* scratch)>;
  friend struct NormalizerFactories;
  std::vector<Step> steps_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_NORMALIZER_H_
