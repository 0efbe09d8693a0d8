#include "core/text/added_tokens.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/text/bpe_model.h"
#include "core/text/unicode_classes.h"

namespace quantd {
namespace {

constexpr size_t kMaxContentBytes = 1024;  // formats.md section 2, names

struct Flag {
  const char* name;
  bool AddedToken::*field;
};
constexpr Flag kFlags[] = {{"single_word", &AddedToken::single_word},
                           {"lstrip", &AddedToken::lstrip},
                           {"rstrip", &AddedToken::rstrip},
                           {"normalized", &AddedToken::normalized},
                           {"special", &AddedToken::special}};

absl::Status Malformed(absl::string_view file, int64_t id, absl::string_view problem) {
  return InvalidInput("TOKENIZER_MALFORMED", absl::StrFormat("%s: added token %d: %s", file, id, problem));
}

}  // namespace

absl::StatusOr<AddedToken> AddedTokenFromJson(const Json& entry, int64_t id, absl::string_view file) {
  if (id < 0 || id > kMaxTokenId) return Malformed(file, id, absl::StrFormat("the id is outside 0..%d", kMaxTokenId));
  const auto content = entry.is_object() ? entry.find("content") : entry.end();
  if (!entry.is_object() || content == entry.end() || !content->is_string()) {
    return Malformed(file, id, "must be an object with a text as 'content'");
  }
  AddedToken token;
  token.id = static_cast<int32_t>(id);
  token.content = token.form = content->get<std::string>();
  if (token.content.size() > kMaxContentBytes) {
    return Malformed(
        file, id, absl::StrFormat("'content' has %d bytes, the limit is %d", token.content.size(), kMaxContentBytes));
  }
  for (const Flag& flag : kFlags) {
    absl::StatusOr<bool> value = JsonBoolOr(entry, flag.name, false, file);
    if (!value.ok()) return Malformed(file, id, value.status().message());
    token.*flag.field = *value;
  }
  return token;
}

void AddedTokenFinder::Add(const AddedToken& token) {
  if (token.form.empty()) return;
  begins_[static_cast<uint8_t>(token.form[0])] = true;
  size_t node = 0;
  for (const char byte : token.form) {
    const auto [child, is_new] = nodes_[node].children.emplace(byte, static_cast<int32_t>(nodes_.size()));
    node = static_cast<size_t>(child->second);
    if (is_new) nodes_.emplace_back();
  }
  if (nodes_[node].token >= 0) return;  // the first of two equal forms counts
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

std::optional<AddedTokenFinder::Found> AddedTokenFinder::FindFrom(absl::string_view text, size_t position) const {
  for (; position < text.size(); ++position) {
    if (!begins_[static_cast<uint8_t>(text[position])]) continue;
    std::optional<Found> longest;
    size_t node = 0;
    for (size_t end = position; end < text.size();) {
      const auto child = nodes_[node].children.find(text[end++]);
      if (child == nodes_[node].children.end()) break;
      node = static_cast<size_t>(child->second);
      if (nodes_[node].token >= 0) longest = Found{position, end, nodes_[node].token};
    }
    if (longest.has_value()) return longest;
  }
  return std::nullopt;
}

std::vector<TextStretch> AddedTokenFinder::Cut(absl::string_view text) const {
  std::vector<TextStretch> stretches;
  size_t done = 0;
  size_t position = 0;
  size_t blanks_end = 0;  // of the last run of blanks that was looked through, so that none is looked through twice
  while (const std::optional<Found> found = FindFrom(text, position)) {
    position = found->end;
    const AddedToken& token = tokens_[static_cast<size_t>(found->token)];
    const absl::string_view before = text.substr(0, found->begin);
    const absl::string_view after = text.substr(found->end);
    if (token.single_word && (EndsWithWordCharacter(before) || BeginsWithWordCharacter(after))) continue;
    const absl::string_view untaken = before.substr(std::min(done, found->begin));
    const size_t begin = token.lstrip ? std::max(done, found->begin - TrailingWhiteSpace(untaken)) : found->begin;
    if (done < begin) stretches.push_back({text.substr(done, begin - done), std::nullopt});
    stretches.push_back({text.substr(found->begin, found->end - found->begin), token.id});
    done = found->end;
    if (token.rstrip) {
      if (blanks_end < found->end) blanks_end = found->end + LeadingWhiteSpace(after);
      done = blanks_end;
    }
  }
  if (done < text.size()) stretches.push_back({text.substr(done), std::nullopt});
  return stretches;
}

}  // namespace quantd
