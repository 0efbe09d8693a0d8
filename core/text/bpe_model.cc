#include "core/text/bpe_model.h"

#include <algorithm>

#include "core/text/byte_alphabet.h"
#include "core/text/utf8.h"

namespace quantd {
namespace {

// Shorter pieces are not worth cutting, and longer segments not worth remembering.
constexpr size_t kCutAbove = 24;
constexpr size_t kRememberUpTo = 64;
constexpr size_t kMaxRemembered = 1 << 17;

// A row of symbols as a doubly linked list in one array, so that joining two is O(1).
struct Node {
  int32_t symbol;  // -1 once it was joined to its left neighbour
  int32_t previous;
  int32_t next;
};

// A pair that could be joined when it was seen. It may be out of date when its turn comes.
struct Candidate {
  int32_t rank;
  int32_t position;
  int32_t result;
};

// For std heaps, which keep the largest in front: the largest is the best rank, leftmost on ties.
bool Later(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

std::vector<Node> LinkedList(absl::Span<const int32_t> symbols) {
  std::vector<Node> nodes(symbols.size());
  const int32_t size = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < size; ++i) {
    nodes[static_cast<size_t>(i)] = {symbols[static_cast<size_t>(i)], i - 1, i + 1 < size ? i + 1 : -1};
  }
  return nodes;
}

}  // namespace

size_t BpeModel::PairHash::operator()(uint64_t pair) const {
  pair = (pair ^ (pair >> 31)) * 0x9E3779B97F4A7C15u;
  return static_cast<size_t>(pair ^ (pair >> 29));
}

const BpeModel::Merge* BpeModel::FindMerge(int32_t left, int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

bool BpeModel::CanJoin(int32_t left, int32_t right) const {
  return joints_.find(PairKey(left, right)) != joints_.end();
}

std::optional<int32_t> BpeModel::IdOf(absl::string_view token) const {
  const auto found = ids_.find(std::string_view(token.data(), token.size()));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* BpeModel::TokenOf(int32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second;
}

void BpeModel::Encode(absl::string_view piece, BpeCache* cache, std::vector<int32_t>* ids) const {
  if (ignore_merges_) {
    const auto whole = whole_pieces_.find(std::string_view(piece.data(), piece.size()));
    if (whole != whole_pieces_.end()) return ids->push_back(whole->second);
  }
  std::vector<int32_t>& symbols = cache->symbols_;
  symbols.clear();
  InitialSymbols(piece, &symbols);
  const absl::Span<const int32_t> row(symbols);
  size_t begin = 0;
  if (cuts_long_pieces_ && row.size() > kCutAbove) {
    for (size_t i = 1; i < row.size(); ++i) {
      if (CanJoin(row[i - 1], row[i])) continue;
      EncodeSegment(row.subspan(begin, i - begin), cache, ids);
      begin = i;
    }
  }
  EncodeSegment(row.subspan(begin), cache, ids);
}

void BpeModel::EncodeSegment(absl::Span<const int32_t> symbols, BpeCache* cache, std::vector<int32_t>* ids) const {
  if (symbols.size() < 2) {
    ids->insert(ids->end(), symbols.begin(), symbols.end());
    return;
  }
  if (symbols.size() > kRememberUpTo) {
    const std::vector<int32_t> merged = MergeAll(symbols);
    ids->insert(ids->end(), merged.begin(), merged.end());
    return;
  }
  const std::string_view key(reinterpret_cast<const char*>(symbols.data()), symbols.size() * sizeof(int32_t));
  auto found = cache->segments_.find(key);
  if (found == cache->segments_.end()) {
    if (cache->segments_.size() >= kMaxRemembered) cache->segments_.clear();
    found = cache->segments_.emplace(std::string(key), MergeAll(symbols)).first;
  }
  ids->insert(ids->end(), found->second.begin(), found->second.end());
}

int32_t BpeModel::SymbolOf(absl::string_view character, char32_t code_point) const {
  if (raw_bytes_) return byte_symbols_[static_cast<uint8_t>(character[0])];
  const auto found = character_symbols_.find(code_point);
  return found == character_symbols_.end() ? -1 : found->second;
}

// `character` as the text spells it; where that is raw bytes, the fallback still takes the spelling apart.
bool BpeModel::AddFallbackBytes(absl::string_view character, std::vector<int32_t>* symbols) const {
  if (byte_tokens_.empty()) return false;
  std::string spelled;
  if (raw_bytes_) character = spelled = SpellBytes(character);
  const auto token_of = [this](char byte) { return byte_tokens_[static_cast<uint8_t>(byte)]; };
  if (std::any_of(character.begin(), character.end(), [&](char byte) { return token_of(byte) < 0; })) return false;
  for (const char byte : character) symbols->push_back(token_of(byte));
  return true;
}

// An unknown token is written when a known character or the end follows it, as the reference library does.
void BpeModel::InitialSymbols(absl::string_view piece, std::vector<int32_t>* symbols) const {
  bool unknown_pending = false;
  for (size_t position = 0; position < piece.size();) {
    const size_t begin = position;
    char32_t code_point = 0;
    if (raw_bytes_) {
      ++position;
    } else {
      code_point = NextCodePoint(piece, &position);
    }
    const absl::string_view character = piece.substr(begin, position - begin);
    const int32_t symbol = SymbolOf(character, code_point);
    if (symbol >= 0) {
      if (unknown_pending) symbols->push_back(*unknown_id_);
      unknown_pending = false;
      symbols->push_back(symbol);
    } else if (!AddFallbackBytes(character, symbols) && unknown_id_.has_value()) {
      if (unknown_pending && !fuse_unknown_) symbols->push_back(*unknown_id_);
      unknown_pending = true;
    }
  }
  if (unknown_pending) symbols->push_back(*unknown_id_);
}

std::vector<int32_t> BpeModel::MergeAll(absl::Span<const int32_t> symbols) const {
  std::vector<Node> nodes = LinkedList(symbols);
  std::vector<Candidate> heap;
  const auto node = [&nodes](int32_t position) -> Node& { return nodes[static_cast<size_t>(position)]; };
  const auto consider = [&](int32_t left) {
    if (left < 0 || node(left).next < 0) return;
    const Merge* merge = FindMerge(node(left).symbol, node(node(left).next).symbol);
    if (merge != nullptr) heap.push_back({merge->rank, left, merge->result});
  };
  for (int32_t i = 0; i + 1 < static_cast<int32_t>(nodes.size()); ++i) consider(i);
  std::make_heap(heap.begin(), heap.end(), Later);
  const auto consider_later = [&](int32_t left) {
    const size_t before = heap.size();
    consider(left);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), Later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), Later);
    const Candidate best = heap.back();
    heap.pop_back();
    Node& left = node(best.position);
    if (left.symbol < 0 || left.next < 0) continue;
    Node& right = node(left.next);
    const Merge* merge = FindMerge(left.symbol, right.symbol);
    if (merge == nullptr || merge->result != best.result) continue;
    left.symbol = best.result;
    right.symbol = -1;
    left.next = right.next;
    if (left.next >= 0) node(left.next).previous = best.position;
    consider_later(left.previous);
    consider_later(best.position);
  }
  std::vector<int32_t> merged;
  for (const Node& survivor : nodes) {
    if (survivor.symbol >= 0) merged.push_back(survivor.symbol);
  }
  return merged;
}

}  // namespace quantd
