// Text to token ids and back, exactly as the model's own tokenizer does it.
//
//   ASSIGN_OR_RETURN(auto tokenizer, OpenTokenizer("/models/llama"));
//   ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer->Encode("Once upon a time"));
//
// OpenTokenizer takes, in this order: tokenizer.json; tokenizer.model (sentencepiece); vocab.json with merges.txt.
// Implementations are immutable after opening and thread-safe.
#ifndef QUANTD_CORE_TEXT_TOKENIZER_H_
#define QUANTD_CORE_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Ids of `text` without special tokens around it; texts of added tokens inside it are found where the format says so.
  // TEXT_NOT_UTF8 (names the byte offset).
  virtual absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const = 0;
  // As Encode, with what the post-processor puts around it (BOS, EOS).
  virtual absl::StatusOr<std::vector<int32_t>> EncodeWithSpecial(absl::string_view text) const = 0;
  // Ids outside the vocabulary are skipped. Bytes that are no UTF-8 become U+FFFD as the format's decoder says.
  virtual std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const = 0;
  // The piece of one id as the vocabulary spells it; "" outside.
  virtual std::string Piece(int32_t id) const = 0;

  virtual int32_t vocabulary_size() const = 0;       // largest id + 1, added tokens included
  virtual std::optional<int32_t> bos_id() const = 0;  // as tokenizer_config.json or the model file names it
  virtual std::optional<int32_t> eos_id() const = 0;
  virtual bool adds_bos() const = 0;                  // EncodeWithSpecial begins with BOS
  // Which file it came from, for reports.
  virtual const std::string& source() const = 0;
};

// Reasons: TOKENIZER_MISSING, TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED (names the part that is not supported).
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& folder);

// One kind only, for tests and tools: a tokenizer.json, a sentencepiece model, vocab.json + merges.txt in `folder`.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizerJson(const std::string& path);
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenSentencePiece(const std::string& path);
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenVocabAndMerges(const std::string& folder);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_TOKENIZER_H_
