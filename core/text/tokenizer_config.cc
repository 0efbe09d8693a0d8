#include "core/text/tokenizer_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/excerpt.h"
#include "core/base/file_system.h"
#include "core/text/json_part.h"

namespace quantd {
namespace {

struct TokenField {
  const char* name;
  std::optional<std::string> TokenizerConfig::*field;
};
constexpr TokenField kTokenFields[] = {{"bos_token", &TokenizerConfig::bos_token},
                                       {"eos_token", &TokenizerConfig::eos_token},
                                       {"unk_token", &TokenizerConfig::unk_token},
                                       {"pad_token", &TokenizerConfig::pad_token}};

// A token is given as its text or as an object with the text as "content".
absl::Status ReadTokens(const Json& document, const std::string& file, TokenizerConfig* config) {
  for (const TokenField& row : kTokenFields) {
    const Json& value = MemberOrNull(document, row.name);
    if (value.is_null() || (config->*row.field).has_value()) continue;
    const Json& text = value.is_object() ? MemberOrNull(value, "content") : value;
    if (!text.is_string()) return TokenizerMalformed(file, absl::StrCat("'", row.name, "' must be a text"));
    config->*row.field = text.get<std::string>();
  }
  return absl::OkStatus();
}

absl::Status ReadFlag(const Json& document, const char* name, const std::string& file, std::optional<bool>* flag) {
  const Json& value = MemberOrNull(document, name);
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_boolean()) return TokenizerMalformed(file, absl::StrCat("'", name, "' must be true or false"));
  *flag = value.get<bool>();
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const Json& document, TokenizerConfig* config) {
  const Json& listed = MemberOrNull(document, "added_tokens_decoder");
  if (listed.is_null()) return absl::OkStatus();
  if (!listed.is_object()) return TokenizerMalformed(config->file, "'added_tokens_decoder' must be an object");
  for (const auto& [key, entry] : listed.items()) {
    int64_t id = -1;
    if (!absl::SimpleAtoi(key, &id)) {
      return TokenizerMalformed(config->file,
                                absl::StrCat("added_tokens_decoder: '", Excerpt(key), "' is no token id"));
    }
    ASSIGN_OR_RETURN(AddedToken token, AddedTokenFromJson(entry, id, config->file));
    config->added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status ReadConfigDocument(const Json& document, TokenizerConfig* config) {
  if (!document.is_object()) return TokenizerMalformed(config->file, "must be an object");
  RETURN_IF_ERROR(ReadTokens(document, config->file, config));
  RETURN_IF_ERROR(ReadFlag(document, "add_bos_token", config->file, &config->add_bos_token));
  RETURN_IF_ERROR(ReadFlag(document, "add_eos_token", config->file, &config->add_eos_token));
  std::optional<bool> add_prefix_space;
  RETURN_IF_ERROR(ReadFlag(document, "add_prefix_space", config->file, &add_prefix_space));
  config->add_prefix_space = add_prefix_space.value_or(false);
  return ReadAddedTokens(document, config);
}

}  // namespace

absl::Status AsTokenizerError(const absl::Status& status) {
  if (status.ok()) return status;
  const bool missing = ReasonOf(status) == "FILE_NOT_FOUND";
  return ReasonError(status.code(), missing ? "TOKENIZER_MISSING" : "TOKENIZER_MALFORMED", status.message());
}

absl::StatusOr<Json> ReadTokenizerJson(const std::string& path, uint64_t max_bytes) {
  absl::StatusOr<Json> document = ReadJsonFile(path, max_bytes);
  if (!document.ok()) return AsTokenizerError(document.status());
  return document;
}

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& folder) {
  TokenizerConfig config;
  config.file = JoinPath(folder, "tokenizer_config.json");
  if (RealFileSystem().Exists(config.file)) {
    ASSIGN_OR_RETURN(const Json document, ReadTokenizerJson(config.file, kMaxJsonBytes));
    RETURN_IF_ERROR(ReadConfigDocument(document, &config));
  }
  const std::string map_file = JoinPath(folder, "special_tokens_map.json");
  if (RealFileSystem().Exists(map_file)) {
    ASSIGN_OR_RETURN(const Json document, ReadTokenizerJson(map_file, kMaxJsonBytes));
    RETURN_IF_ERROR(ReadTokens(document, map_file, &config));
  }
  return config;
}

}  // namespace quantd
