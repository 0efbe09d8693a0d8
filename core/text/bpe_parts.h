// The parts of a BPE tokenizer, read and checked from a tokenizer.json document.
#ifndef QUANTD_CORE_TEXT_BPE_PARTS_H_
#define QUANTD_CORE_TEXT_BPE_PARTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "core/base/json.h"
#include "core/text/added_tokens.h"
#include "core/text/bpe_model.h"
#include "core/text/decoder.h"
#include "core/text/normalizer.h"
#include "core/text/post_processor.h"
#include "core/text/pre_tokenizer.h"
#include "core/text/tokenizer_config.h"

namespace quantd {

struct BpeParts {
  std::string source;
  AddedTokenFinder raw_tokens;  // looked for in the text as it is
  Normalizer normalizer;
  AddedTokenFinder normalized_tokens;  // looked for after normalization
  PreTokenizer pre_tokenizer;
  BpeModel model;
  Decoder decoder;
  Surroundings surroundings;
  std::unordered_map<int32_t, AddedToken> added;
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;

  // nullptr when no token has this id.
  const std::string* TokenOf(int32_t id) const;
  std::optional<int32_t> IdOf(absl::string_view token) const;
};

// TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED.
absl::StatusOr<BpeParts> ReadBpeParts(const Json& document, const TokenizerConfig& config, const std::string& source);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_BPE_PARTS_H_
