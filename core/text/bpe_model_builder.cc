// Checks a BpeDescription and builds the tables of a BpeModel.
#include <array>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/excerpt.h"
#include "core/base/status.h"
#include "core/text/bpe_model.h"
#include "core/text/byte_alphabet.h"
#include "core/text/utf8.h"

namespace quantd {

class BpeModelBuilder {
 public:
  explicit BpeModelBuilder(const BpeDescription& description) : description_(description) {}

  absl::StatusOr<BpeModel> Build() {
    model_.fuse_unknown_ = description_.fuse_unknown;
    model_.ignore_merges_ = description_.ignore_merges;
    model_.raw_bytes_ = description_.raw_bytes;
    model_.byte_symbols_.assign(256, -1);
    RETURN_IF_ERROR(AddVocabulary());
    RETURN_IF_ERROR(AddUnknown());
    AddByteTokens();
    RETURN_IF_ERROR(AddMerges());
    return std::move(model_);
  }

 private:
  absl::Status Malformed(absl::string_view problem) const {
    return InvalidInput("TOKENIZER_MALFORMED", absl::StrCat(description_.file, ": ", problem));
  }

  absl::Status AddVocabulary() {
    if (description_.vocabulary.empty()) return Malformed("the vocabulary is empty");
    for (const auto& [token, id] : description_.vocabulary) {
      if (id < 0 || id > kMaxTokenId) {
        return Malformed(absl::StrFormat("token '%s' has id %d, outside 0..%d", Excerpt(token), id, kMaxTokenId));
      }
      const int32_t token_id = static_cast<int32_t>(id);
      const auto [other, is_new] = model_.tokens_.emplace(token_id, token);
      if (!is_new)
        return Malformed(
            absl::StrFormat("tokens '%s' and '%s' share id %d", Excerpt(other->second), Excerpt(token), id));
      model_.ids_.emplace(token, token_id);
      model_.largest_id_ = std::max(model_.largest_id_, token_id);
      AddSymbol(token, token_id);
    }
    return absl::OkStatus();
  }

  void AddSymbol(const std::string& token, int32_t id) {
    if (model_.raw_bytes_) {
      const std::optional<std::string> bytes = SpelledBytes(token);
      if (!bytes.has_value()) return;  // cannot come from text, e.g. a special token with a blank in it
      if (bytes->size() == 1) model_.byte_symbols_[static_cast<uint8_t>((*bytes)[0])] = id;
      if (model_.ignore_merges_) model_.whole_pieces_.emplace(*bytes, id);
      return;
    }
    size_t position = 0;
    const char32_t first = token.empty() ? 0 : NextCodePoint(token, &position);
    if (!token.empty() && position == token.size()) model_.character_symbols_.emplace(first, id);
    if (model_.ignore_merges_) model_.whole_pieces_.emplace(token, id);
  }

  absl::Status AddUnknown() {
    if (!description_.unknown_token.has_value()) return absl::OkStatus();
    model_.unknown_id_ = model_.IdOf(*description_.unknown_token);
    if (model_.unknown_id_.has_value()) return absl::OkStatus();
    return Malformed(absl::StrFormat("unk_token '%s' is not in the vocabulary", Excerpt(*description_.unknown_token)));
  }

  void AddByteTokens() {
    if (!description_.byte_fallback) return;
    model_.byte_tokens_.assign(256, -1);
    for (int byte = 0; byte < 256; ++byte) {
      const std::optional<int32_t> id = model_.IdOf(absl::StrFormat("<0x%02X>", byte));
      if (id.has_value()) model_.byte_tokens_[static_cast<size_t>(byte)] = *id;
    }
    indivisible_.insert(model_.byte_tokens_.begin(), model_.byte_tokens_.end());
  }

  absl::Status AddMerges() {
    if (model_.unknown_id_.has_value()) indivisible_.insert(*model_.unknown_id_);
    model_.merges_.reserve(description_.merges.size());
    int32_t rank = 0;
    for (const auto& [left, right] : description_.merges) {
      std::array<int32_t, 3> ids;
      const std::array<std::string, 3> tokens = {left, right, left + right};
      for (size_t i = 0; i < 3; ++i) {
        const std::optional<int32_t> id = model_.IdOf(tokens[i]);
        if (!id.has_value()) {
          return Malformed(absl::StrFormat("merge %d ('%s' + '%s'): '%s' is not in the vocabulary", rank, Excerpt(left),
                                           Excerpt(right), Excerpt(tokens[i])));
        }
        ids[i] = *id;
      }
      model_.merges_[BpeModel::PairKey(ids[0], ids[1])] = {rank++, ids[2]};
      AddJoint(left, right);
      // A part that is no row of characters (a byte, the unknown token) ends in a symbol that its spelling does not
      // show.
      if (indivisible_.count(ids[0]) + indivisible_.count(ids[1]) > 0) model_.cuts_long_pieces_ = false;
    }
    return absl::OkStatus();
  }

  void AddJoint(const std::string& left, const std::string& right) {
    const int32_t last = EdgeSymbol(left, /*last=*/true);
    const int32_t first = EdgeSymbol(right, /*last=*/false);
    if (last < 0 || first < 0) return;  // such a part never arises
    model_.joints_.insert(BpeModel::PairKey(last, first));
  }

  // The first or last symbol that `token` is made of; -1 when text never gives it.
  int32_t EdgeSymbol(const std::string& token, bool last) const {
    if (token.empty()) return -1;
    if (model_.raw_bytes_) {
      const std::optional<std::string> bytes = SpelledBytes(token);
      return bytes.has_value() ? model_.byte_symbols_[static_cast<uint8_t>(last ? bytes->back() : bytes->front())] : -1;
    }
    size_t position = 0;
    if (last) {
      position = token.size() - 1;
      while (position > 0 && IsUtf8Continuation(token[position])) --position;
    }
    const auto found = model_.character_symbols_.find(NextCodePoint(token, &position));
    return found == model_.character_symbols_.end() ? -1 : found->second;
  }

  const BpeDescription& description_;
  BpeModel model_;
  std::set<int32_t> indivisible_;
};

absl::StatusOr<BpeModel> BpeModel::Create(const BpeDescription& description) {
  return BpeModelBuilder(description).Build();
}

}  // namespace quantd
