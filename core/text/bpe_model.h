// Byte pair encoding: a piece of text becomes a row of symbols, then the adjacent pair whose merge comes first in the
// list is joined (leftmost on ties) until no pair is in the list.
#ifndef QUANTD_CORE_TEXT_BPE_MODEL_H_
#define QUANTD_CORE_TEXT_BPE_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/text/string_map.h"

namespace quantd {

inline constexpr int32_t kMaxTokenId = (1 << 24) - 1;  // formats.md section 6

// What a file says, not yet checked.
struct BpeDescription {
  std::string file;  // for messages
  std::vector<std::pair<std::string, int64_t>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // best first
  std::optional<std::string> unknown_token;
  bool fuse_unknown = false;   // a run of unknown characters is one unknown token
  bool byte_fallback = false;  // an unknown character is its bytes <0x00>..<0xFF>, where the vocabulary has them all
  bool ignore_merges = false;  // a piece that is a token is taken whole
  // The text comes as raw bytes and the vocabulary is spelled in the byte alphabet (byte_alphabet.h). Otherwise symbols
  // are the characters of the text.
  bool raw_bytes = false;
};

// Results of earlier pieces. One per text and thread.
class BpeCache {
 private:
  friend class BpeModel;
  StringMap<std::vector<int32_t>> segments_;
  std::vector<int32_t> symbols_;
};

// Immutable and thread-safe.
class BpeModel {
 public:
  // TOKENIZER_MALFORMED: an id twice or out of range, a merge whose parts or result are not in the vocabulary, an
  // unknown token that is not.
  static absl::StatusOr<BpeModel> Create(const BpeDescription& description);

  // Appends the ids of `piece`. O(n log n).
  void Encode(absl::string_view piece, BpeCache* cache, std::vector<int32_t>* ids) const;

  std::optional<int32_t> IdOf(absl::string_view token) const;
  // nullptr when no token has this id.
  const std::string* TokenOf(int32_t id) const;
  int32_t largest_id() const { return largest_id_; }

 private:
  friend class BpeModelBuilder;
  struct Merge {
    int32_t rank;
    int32_t result;
  };
  struct PairHash {
    size_t operator()(uint64_t pair) const;
  };
  BpeModel() = default;
  static uint64_t PairKey(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  void InitialSymbols(absl::string_view piece, std::vector<int32_t>* symbols) const;
  bool AddFallbackBytes(absl::string_view character, std::vector<int32_t>* symbols) const;
  int32_t SymbolOf(absl::string_view character, char32_t code_point) const;
  bool CanJoin(int32_t left, int32_t right) const;
  void EncodeSegment(absl::Span<const int32_t> symbols, BpeCache* cache, std::vector<int32_t>* ids) const;
  std::vector<int32_t> MergeAll(absl::Span<const int32_t> symbols) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;

  StringMap<int32_t> ids_;  // as spelled in the file
  std::unordered_map<int32_t, std::string> tokens_;
  StringMap<int32_t> whole_pieces_;  // ignore_merges: as the text spells them
  std::unordered_map<char32_t, int32_t> character_symbols_;
  std::vector<int32_t> byte_symbols_;  // raw_bytes: symbol of each byte, -1 for none
  std::vector<int32_t> byte_tokens_;   // byte_fallback: <0x00>..<0xFF>, -1 for none
  std::unordered_map<uint64_t, Merge, PairHash> merges_;
  // (last symbol of left, first symbol of right) of every merge: no other neighbours can ever end up in one token, so a
  // long piece is cut between them and its segments are encoded apart, with the same result.
  std::unordered_set<uint64_t, PairHash> joints_;
  bool cuts_long_pieces_ = true;
  std::optional<int32_t> unknown_id_;
  int32_t largest_id_ = -1;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
  bool raw_bytes_ = false;
};

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_BPE_MODEL_H_
