// How tokenizer.json turns a row of tokens back into text.
//
// Supported: Sequence, ByteLevel, Replace (text), ByteFallback, Fuse, Strip, Metaspace. Others are refused by name.
#ifndef QUANTD_CORE_TEXT_DECODER_H_
#define QUANTD_CORE_TEXT_DECODER_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/json.h"

namespace quantd {

// Immutable and thread-safe.
class Decoder {
 public:
  // From the member "decoder" of `document`. TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED.
  static absl::StatusOr<Decoder> FromJson(const Json& document, absl::string_view file);

  // Without any step tokens are joined by blanks, as the reference library does.
  std::string Decode(std::vector<std::string> tokens) const;

 private:
  using Step = std::function<void(std::vector<std::string>* tokens)>;
  friend struct DecoderFactories;
  std::vector<Step> steps_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_DECODER_H_
