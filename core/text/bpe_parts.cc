#include "core/text/bpe_parts.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/excerpt.h"
#include "core/base/logging.h"
#include "core/text/bpe_description.h"
#include "core/text/json_part.h"

namespace quantd {
namespace {

// The tree that finds them takes about 100 bytes for each.
constexpr size_t kMaxAddedBytes = size_t{4} << 20;

absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const Json& document, const std::string& file) {
  std::vector<AddedToken> tokens;
  const Json& listed = MemberOrNull(document, "added_tokens");
  if (listed.is_null()) return tokens;
  if (!listed.is_array()) return TokenizerMalformed(file, "'added_tokens' must be a list");
  size_t content_bytes = 0;
  for (const Json& entry : listed) {
    absl::StatusOr<int64_t> id = JsonInt(entry, "id", absl::StrCat(file, ": added_tokens"));
    if (!id.ok()) return TokenizerMalformed(file, id.status().message());
    ASSIGN_OR_RETURN(AddedToken token, AddedTokenFromJson(entry, *id, file));
    content_bytes += token.content.size();
    tokens.push_back(std::move(token));
    if (content_bytes > kMaxAddedBytes) {
      return TokenizerMalformed(file, absl::StrFormat("'added_tokens' has more than %d bytes of texts; larger "
                                                      "vocabularies belong into 'model.vocab'",
                                                      kMaxAddedBytes));
    }
  }
  return tokens;
}

// An added token may repeat a token of the vocabulary or lie beyond it, but neither its id nor its text may mean two
// things.
absl::Status CheckAgainstVocabulary(const AddedToken& token, const BpeParts& parts) {
  const std::optional<int32_t> same_text = parts.model.IdOf(token.content);
  const std::string* same_id = parts.TokenOf(token.id);
  if (same_text.has_value() && *same_text != token.id) {
    return TokenizerMalformed(parts.source, absl::StrFormat("added token '%s' has id %d, in the vocabulary %d",
                                                            Excerpt(token.content), token.id, *same_text));
  }
  if (same_id != nullptr && *same_id != token.content) {
    return TokenizerMalformed(parts.source, absl::StrFormat("tokens '%s' and '%s' share id %d", Excerpt(token.content),
                                                            Excerpt(*same_id), token.id));
  }
  return absl::OkStatus();
}

absl::Status AddTokens(std::vector<AddedToken> tokens, BpeParts* parts) {
  RegexScratch scratch;
  for (AddedToken& token : tokens) {
    RETURN_IF_ERROR(CheckAgainstVocabulary(token, *parts));
    if (token.normalized) {
      ASSIGN_OR_RETURN(token.form, parts->normalizer.Normalize(token.content, &scratch));
    }
    if (!parts->added.emplace(token.id, token).second) {
      return TokenizerMalformed(parts->source, absl::StrFormat("added token %d is listed twice", token.id));
    }
    (token.normalized ? parts->normalized_tokens : parts->raw_tokens).Add(token);
  }
  return absl::OkStatus();
}

absl::Status CheckSurroundings(const BpeParts& parts) {
  for (const std::vector<int32_t>* ids : {&parts.surroundings.before, &parts.surroundings.after}) {
    for (const int32_t id : *ids) {
      if (parts.TokenOf(id) != nullptr) continue;
      return TokenizerMalformed(parts.source, absl::StrFormat("post_processor: there is no token %d", id));
    }
  }
  return absl::OkStatus();
}

// The token that the configuration names, if the tokenizer has it; where nothing is named, the only special token that
// the template puts there.
std::optional<int32_t> NamedId(const std::optional<std::string>& name, const std::vector<int32_t>& in_template,
                               const BpeParts& parts) {
  if (name.has_value()) return parts.IdOf(*name);
  return in_template.size() == 1 ? std::optional(in_template[0]) : std::nullopt;
}

absl::StatusOr<std::vector<int32_t>> TokenWhere(const std::optional<bool>& wanted, const std::optional<int32_t>& id,
                                                absl::string_view name, const TokenizerConfig& config) {
  if (!wanted.value_or(false)) return std::vector<int32_t>();
  if (id.has_value()) return std::vector<int32_t>{*id};
  return TokenizerMalformed(config.file, absl::StrCat("add_", name, " is true, but '", name, "' names no token"));
}

// add_bos_token and add_eos_token replace the template where either is there (formats.md section 6).
absl::Status ApplyConfig(const TokenizerConfig& config, bool has_template, BpeParts* parts) {
  const Surroundings in_file = parts->surroundings;
  parts->bos_id = NamedId(config.bos_token, in_file.before, *parts);
  parts->eos_id = NamedId(config.eos_token, in_file.after, *parts);
  if (!config.add_bos_token.has_value() && !config.add_eos_token.has_value()) return absl::OkStatus();
  Surroundings& result = parts->surroundings;
  ASSIGN_OR_RETURN(result.before, TokenWhere(config.add_bos_token, parts->bos_id, "bos_token", config));
  ASSIGN_OR_RETURN(result.after, TokenWhere(config.add_eos_token, parts->eos_id, "eos_token", config));
  if (has_template && (result.before != in_file.before || result.after != in_file.after)) {
    Log(Severity::kWarning, "tokenizer_template_overridden", {{"tokenizer", parts->source}, {"config", config.file}},
        "add_bos_token and add_eos_token replace the template of the tokenizer's own file");
  }
  return absl::OkStatus();
}

absl::StatusOr<BpeModel> ReadModel(const Json& document, bool raw_bytes, const std::string& source) {
  ASSIGN_OR_RETURN(BpeDescription description, BpeDescriptionFromJson(document, source));
  description.raw_bytes = raw_bytes;
  return BpeModel::Create(description);
}

}  // namespace

const std::string* BpeParts::TokenOf(int32_t id) const {
  const auto found = added.find(id);
  return found != added.end() ? &found->second.form : model.TokenOf(id);
}

std::optional<int32_t> BpeParts::IdOf(absl::string_view token) const {
  for (const auto& [id, added_token] : added) {
    if (added_token.content == token) return id;
  }
  return model.IdOf(token);
}

absl::StatusOr<BpeParts> ReadBpeParts(const Json& document, const TokenizerConfig& config, const std::string& source) {
  if (!document.is_object()) return TokenizerMalformed(source, "must be an object");
  ASSIGN_OR_RETURN(Normalizer normalizer, Normalizer::FromJson(document, source));
  ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::FromJson(document, source));
  ASSIGN_OR_RETURN(BpeModel model, ReadModel(document, pre_tokenizer.gives_raw_bytes(), source));
  ASSIGN_OR_RETURN(Decoder decoder, Decoder::FromJson(document, source));
  ASSIGN_OR_RETURN(Surroundings surroundings, SurroundingsFromJson(document, source));
  BpeParts parts{.source = source,
                 .raw_tokens = {},
                 .normalizer = std::move(normalizer),
                 .normalized_tokens = {},
                 .pre_tokenizer = std::move(pre_tokenizer),
                 .model = std::move(model),
                 .decoder = std::move(decoder),
                 .surroundings = std::move(surroundings),
                 .added = {},
                 .bos_id = std::nullopt,
                 .eos_id = std::nullopt};
  ASSIGN_OR_RETURN(std::vector<AddedToken> added, ReadAddedTokens(document, source));
  RETURN_IF_ERROR(AddTokens(std::move(added), &parts));
  RETURN_IF_ERROR(CheckSurroundings(parts));
  RETURN_IF_ERROR(ApplyConfig(config, !MemberOrNull(document, "post_processor").is_null(), &parts));
  return parts;
}

}  // namespace quantd
