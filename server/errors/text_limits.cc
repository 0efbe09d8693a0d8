#include "server/errors/text_limits.h"

namespace quantd {
namespace {

bool IsContinuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

}  // namespace

std::string KeepBeginning(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  size_t end = max_bytes;
  while (end > 0 && IsContinuation(text[end])) --end;
  return std::string(text.substr(0, end));
}

std::string KeepEnd(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  size_t begin = text.size() - max_bytes;
  while (begin < text.size() && IsContinuation(text[begin])) ++begin;
  return std::string(text.substr(begin));
}

}  // namespace quantd
