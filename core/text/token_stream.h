// All documents of a corpus as one row of tokens.
#ifndef QUANTD_CORE_TEXT_TOKEN_STREAM_H_
#define QUANTD_CORE_TEXT_TOKEN_STREAM_H_

#include "absl/status/statusor.h"
#include "core/text/corpus.h"

namespace quantd {

// Each document is encoded on its own, without special tokens, and the ids are put one after the other.
absl::StatusOr<TokenSequence> TokenStream(const Corpus& corpus, const Tokenizer& tokenizer);

// BOS_UNKNOWN; `purpose` says who asked for it.
absl::StatusOr<int32_t> RequireBos(const Tokenizer& tokenizer, absl::string_view purpose);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_TOKEN_STREAM_H_
