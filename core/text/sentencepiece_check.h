// Looks over a SentencePiece model before libsentencepiece reads it, which trusts its input.
#ifndef QUANTD_CORE_TEXT_SENTENCEPIECE_CHECK_H_
#define QUANTD_CORE_TEXT_SENTENCEPIECE_CHECK_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantd {

// Protobuf wire format well-formed, pieces not empty, valid UTF-8 without NUL, at most 2^24, scores finite; a model of
// type BPE or unigram; no compiled normalization table. TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED.
absl::Status CheckSentencePieceModel(absl::string_view bytes, absl::string_view path);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_SENTENCEPIECE_CHECK_H_
