#include "core/text/utf8.h"

#include "absl/strings/str_cat.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace quantd {
namespace {

uint8_t ByteAt(absl::string_view bytes, size_t position) {
  return static_cast<uint8_t>(bytes[position]);
}

// What may follow a lead byte: number of continuation bytes and the range of the first of them.
struct Lead {
  int continuations;
  uint8_t low;
  uint8_t high;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {0, 0, 0};
  if (byte < 0xC2) return {-1, 0, 0};
  if (byte < 0xE0) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte < 0xF0) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte < 0xF4) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {-1, 0, 0};
}

struct Sequence {
  bool valid;
  size_t length;  // of the sequence, or of its well-formed beginning (at least 1)
};

Sequence SequenceAt(absl::string_view bytes, size_t position) {
  const Lead lead = LeadOf(ByteAt(bytes, position));
  if (lead.continuations < 0) return {false, 1};
  for (int i = 1; i <= lead.continuations; ++i) {
    const size_t at = position + static_cast<size_t>(i);
    const uint8_t low = i == 1 ? lead.low : 0x80;
    const uint8_t high = i == 1 ? lead.high : 0xBF;
    if (at >= bytes.size() || ByteAt(bytes, at) < low || ByteAt(bytes, at) > high) {
      return {false, static_cast<size_t>(i)};
    }
  }
  return {true, static_cast<size_t>(lead.continuations) + 1};
}

// Length of the run of ASCII at `position`, eight bytes at a time.
size_t AsciiRun(absl::string_view bytes, size_t position) {
  size_t end = position;
  uint64_t word;
  while (bytes.size() - end >= sizeof(word)) {
    std::memcpy(&word, bytes.data() + end, sizeof(word));
    if ((word & 0x8080808080808080u) != 0) break;
    end += sizeof(word);
  }
  while (end < bytes.size() && ByteAt(bytes, end) < 0x80) ++end;
  return end - position;
}

}  // namespace

std::optional<size_t> FirstInvalidUtf8(absl::string_view bytes) {
  size_t position = 0;
  while (position < bytes.size()) {
    position += AsciiRun(bytes, position);
    if (position == bytes.size()) break;
    const Sequence sequence = SequenceAt(bytes, position);
    if (!sequence.valid) return position;
    position += sequence.length;
  }
  return std::nullopt;
}

char32_t NextCodePoint(absl::string_view text, size_t* position) {
  const uint8_t first = ByteAt(text, *position);
  const int continuations = std::max(LeadOf(first).continuations, 0);
  // A lead byte with n continuation bytes carries 6 - n bits of the code point.
  char32_t code_point = continuations == 0 ? first : first & ((1u << (6 - continuations)) - 1);
  ++*position;
  for (int i = 0; i < continuations && *position < text.size(); ++i, ++*position) {
    code_point = (code_point << 6) | (ByteAt(text, *position) & 0x3Fu);
  }
  return code_point;
}

void AppendUtf8(char32_t code_point, std::string* out) {
  const auto append = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) return append(code_point);
  if (code_point < 0x800) {
    append(0xC0 | (code_point >> 6));
  } else {
    if (code_point < 0x10000) {
      append(0xE0 | (code_point >> 12));
    } else {
      append(0xF0 | (code_point >> 18));
      append(0x80 | ((code_point >> 12) & 0x3F));
    }
    append(0x80 | ((code_point >> 6) & 0x3F));
  }
  append(0x80 | (code_point & 0x3F));
}

std::string LossyUtf8(absl::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  size_t position = 0;
  while (position < bytes.size()) {
    const Sequence sequence = SequenceAt(bytes, position);
    absl::StrAppend(&out, sequence.valid ? bytes.substr(position, sequence.length) : absl::string_view("\xEF\xBF\xBD"));
    position += sequence.length;
  }
  return out;
}

}  // namespace quantd
