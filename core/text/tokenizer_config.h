// The small files beside a tokenizer: tokenizer_config.json and special_tokens_map.json.
#ifndef QUANTD_CORE_TEXT_TOKENIZER_CONFIG_H_
#define QUANTD_CORE_TEXT_TOKENIZER_CONFIG_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/added_tokens.h"

namespace quantd {

struct TokenizerConfig {
  std::string file;  // tokenizer_config.json, for messages
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::optional<std::string> unk_token;
  std::optional<std::string> pad_token;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  bool add_prefix_space = false;
  std::vector<AddedToken> added_tokens;  // "added_tokens_decoder"
};

// Both files are optional; where both name a token, tokenizer_config.json counts. TOKENIZER_MALFORMED.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& folder);

// A JSON document of a tokenizer: errors of reading and parsing get the reasons of tokenizers (TOKENIZER_MISSING,
// TOKENIZER_MALFORMED).
absl::StatusOr<Json> ReadTokenizerJson(const std::string& path, uint64_t max_bytes);

// The same for other files: FILE_NOT_FOUND becomes TOKENIZER_MISSING, others TOKENIZER_MALFORMED.
absl::Status AsTokenizerError(const absl::Status& status);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_TOKENIZER_CONFIG_H_
