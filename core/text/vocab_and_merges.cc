// Folders of GPT-2 and OPT: vocab.json and merges.txt, always byte-level with GPT-2's pattern.
//
// The two are turned into the tokenizer.json document that means the same, so that there is one way of encoding.
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/file_system.h"
#include "core/text/bpe_tokenizer.h"
#include "core/text/json_part.h"
#include "core/text/tokenizer_files.h"
#include "core/text/utf8.h"

namespace quantd {
namespace {

constexpr const char* kGpt2EndOfText = "<|endoftext|>";

absl::StatusOr<Json> ReadMergesText(const std::string& path) {
  absl::StatusOr<std::string> text = RealFileSystem().ReadFile(path, kMaxJsonBytes);
  if (!text.ok()) return AsTokenizerError(text.status());
  if (const std::optional<size_t> invalid = FirstInvalidUtf8(*text)) {
    return TokenizerMalformed(path, absl::StrCat("byte ", *invalid, " is not UTF-8"));
  }
  Json merges = Json::array();
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (absl::EndsWith(line, "\r")) line.remove_suffix(1);
    if (line.empty() || absl::StartsWith(line, "#version")) continue;
    merges.push_back(std::string(line));
  }
  return merges;
}

// GPT-2's own folder names no tokens.
void NameGpt2Tokens(const Json& vocabulary, TokenizerConfig* config) {
  if (config->bos_token.has_value() || config->eos_token.has_value()) return;
  if (MemberOrNull(vocabulary, kGpt2EndOfText).is_null()) return;
  config->bos_token = config->eos_token = kGpt2EndOfText;
}

Json AddedTokenJson(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.content}, {"single_word", token.single_word},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip},   {"normalized", token.normalized},
          {"special", token.special}};
}

// Tokens that the configuration lists or names. A named one that is not in the vocabulary is left out: ids are not
// invented.
Json AddedTokensOf(const Json& vocabulary, const TokenizerConfig& config) {
  Json added = Json::array();
  std::set<std::string> listed;
  for (const AddedToken& token : config.added_tokens) {
    added.push_back(AddedTokenJson(token));
    listed.insert(token.content);
  }
  for (const auto& name : {config.bos_token, config.eos_token, config.unk_token, config.pad_token}) {
    if (!name.has_value() || listed.count(*name) > 0) continue;
    const Json& id = MemberOrNull(vocabulary, *name);
    if (!id.is_number_integer()) continue;
    added.push_back({{"id", id}, {"content", *name}, {"special", true}});
    listed.insert(*name);
  }
  return added;
}

Json DocumentOf(Json vocabulary, Json merges, const TokenizerConfig& config) {
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", config.add_prefix_space}, {"use_regex", true}};
  Json document = {{"added_tokens", AddedTokensOf(vocabulary, config)},
                   {"pre_tokenizer", byte_level},
                   {"decoder", {{"type", "ByteLevel"}}}};
  document["model"] = {{"type", "BPE"}, {"vocab", std::move(vocabulary)}, {"merges", std::move(merges)}};
  return document;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenVocabAndMerges(const std::string& folder) {
  const std::string path = JoinPath(folder, kVocabularyFile);
  ASSIGN_OR_RETURN(Json vocabulary, ReadTokenizerJson(path, kMaxTokenizerJsonBytes));
  if (!vocabulary.is_object()) return TokenizerMalformed(path, "must be an object");
  ASSIGN_OR_RETURN(Json merges, ReadMergesText(JoinPath(folder, kMergesFile)));
  ASSIGN_OR_RETURN(TokenizerConfig config, ReadTokenizerConfig(folder));
  NameGpt2Tokens(vocabulary, &config);
  return MakeBpeTokenizer(DocumentOf(std::move(vocabulary), std::move(merges), config), config, path);
}

}  // namespace quantd
