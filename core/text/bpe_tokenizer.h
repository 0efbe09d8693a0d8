// A BPE tokenizer described by a tokenizer.json document, wherever the document came from.
//
// Encoding: added tokens are cut out of the text; what is between them is normalized; added tokens that want normalized
// text are cut out of that; the rest is cut into pieces by the pre-tokenizer and each piece encoded by the model.
#ifndef QUANTD_CORE_TEXT_BPE_TOKENIZER_H_
#define QUANTD_CORE_TEXT_BPE_TOKENIZER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/json.h"
#include "core/text/tokenizer.h"
#include "core/text/tokenizer_config.h"

namespace quantd {

// `source` names the file in messages and reports. TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeBpeTokenizer(const Json& document, const TokenizerConfig& config,
                                                            const std::string& source);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_BPE_TOKENIZER_H_
