// How tokenizer.json cuts a text into pieces that are encoded apart.
//
// Supported: Sequence, ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit,
// Metaspace. Others are refused by name.
#ifndef QUANTD_CORE_TEXT_PRE_TOKENIZER_H_
#define QUANTD_CORE_TEXT_PRE_TOKENIZER_H_

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/json.h"
#include "core/text/regex.h"

namespace quantd {

struct TextPiece {
  absl::string_view text;
  bool at_text_start = false;  // nothing of the whole text comes before it
};

// Pieces on their way through the steps. Views point into the caller's text or into `rewritten`.
struct Pieces {
  std::vector<TextPiece> list;
  std::deque<std::string> rewritten;
};

// Immutable and thread-safe.
class PreTokenizer {
 public:
  // From the member "pre_tokenizer" of `document`. TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED.
  static absl::StatusOr<PreTokenizer> FromJson(const Json& document, absl::string_view file);

  // Cuts `text` (not empty, valid UTF-8); the pieces are not empty. TOKENIZER_REGEX_LIMIT.
  absl::StatusOr<Pieces> Cut(TextPiece text, RegexScratch* scratch) const;

  // The last step is ByteLevel: pieces stay raw bytes and the model looks them up by byte. A ByteLevel step before
  // others spells its pieces in the byte alphabet instead, because the others then act on that spelling.
  bool gives_raw_bytes() const { return gives_raw_bytes_; }

 private:
  using Step = std::function<absl::Status(Pieces* pieces, RegexScratch* scratch)>;
  friend struct PreTokenizerFactories;
  std::vector<Step> steps_;
  bool gives_raw_bytes_ = false;
};

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_PRE_TOKENIZER_H_
