#include "core/text/bpe_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/text/bpe_parts.h"
#include "core/text/text_check.h"

namespace quantd {
namespace {

// What one text needs while it is encoded.
struct Work {
  RegexScratch scratch;
  BpeCache cache;
  std::vector<int32_t> ids;
};

class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeParts parts) : parts_(std::move(parts)) {
    vocabulary_size_ = parts_.model.largest_id() + 1;
    for (const auto& [id, token] : parts_.added) vocabulary_size_ = std::max(vocabulary_size_, id + 1);
  }

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override {
    RETURN_IF_ERROR(CheckText(text));
    Work work;
    for (const TextStretch& stretch : parts_.raw_tokens.Cut(text)) {
      if (stretch.token.has_value()) {
        work.ids.push_back(*stretch.token);
      } else {
        RETURN_IF_ERROR(EncodeStretch({stretch.text, stretch.text.data() == text.data()}, &work));
      }
    }
    return std::move(work.ids);
  }

  absl::StatusOr<std::vector<int32_t>> EncodeWithSpecial(absl::string_view text) const override {
    ASSIGN_OR_RETURN(std::vector<int32_t> ids, Encode(text));
    const Surroundings& around = parts_.surroundings;
    ids.insert(ids.begin(), around.before.begin(), around.before.end());
    ids.insert(ids.end(), around.after.begin(), around.after.end());
    return ids;
  }

  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const int32_t id : ids) {
      const std::string* token = parts_.TokenOf(id);
      if (token != nullptr && !(skip_special && IsSpecial(id))) tokens.push_back(*token);
    }
    return parts_.decoder.Decode(std::move(tokens));
  }

  std::string Piece(int32_t id) const override {
    const std::string* token = parts_.TokenOf(id);
    return token == nullptr ? "" : *token;
  }

  int32_t vocabulary_size() const override { return vocabulary_size_; }
  std::optional<int32_t> bos_id() const override { return parts_.bos_id; }
  std::optional<int32_t> eos_id() const override { return parts_.eos_id; }
  bool adds_bos() const override {
    const std::vector<int32_t>& before = parts_.surroundings.before;
    return parts_.bos_id.has_value() && !before.empty() && before.front() == *parts_.bos_id;
  }
  const std::string& source() const override { return parts_.source; }

 private:
  bool IsSpecial(int32_t id) const {
    const auto found = parts_.added.find(id);
    return found != parts_.added.end() && found->second.special;
  }

  absl::Status EncodeStretch(TextPiece stretch, Work* work) const {
    if (parts_.normalizer.empty()) return EncodeNormalized(stretch, work);
    ASSIGN_OR_RETURN(const std::string text, parts_.normalizer.Normalize(stretch.text, &work->scratch));
    return EncodeNormalized({text, stretch.at_text_start}, work);
  }

  absl::Status EncodeNormalized(TextPiece text, Work* work) const {
    for (const TextStretch& stretch : parts_.normalized_tokens.Cut(text.text)) {
      if (stretch.token.has_value()) {
        work->ids.push_back(*stretch.token);
        continue;
      }
      const bool at_start = text.at_text_start && stretch.text.data() == text.text.data();
      ASSIGN_OR_RETURN(const Pieces pieces, parts_.pre_tokenizer.Cut({stretch.text, at_start}, &work->scratch));
      for (const TextPiece& piece : pieces.list) parts_.model.Encode(piece.text, &work->cache, &work->ids);
    }
    return absl::OkStatus();
  }

  BpeParts parts_;
  int32_t vocabulary_size_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeBpeTokenizer(const Json& document, const TokenizerConfig& config,
                                                            const std::string& source) {
  ASSIGN_OR_RETURN(BpeParts parts, ReadBpeParts(document, config, source));
  return std::make_unique<BpeTokenizer>(std::move(parts));
}

}  // namespace quantd
