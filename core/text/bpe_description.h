// The member "model" of tokenizer.json.
#ifndef QUANTD_CORE_TEXT_BPE_DESCRIPTION_H_
#define QUANTD_CORE_TEXT_BPE_DESCRIPTION_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/json.h"
#include "core/text/bpe_model.h"

namespace quantd {

// Refused: other types of model, dropout, prefixes and suffixes of words. `raw_bytes` is left false.
// TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED.
absl::StatusOr<BpeDescription> BpeDescriptionFromJson(const Json& document, absl::string_view file);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_BPE_DESCRIPTION_H_
