#include "server/errors/text_limits.h"

#include "core/base/excerpt.h"

namespace quantd {

std::string KeepBeginning(absl::string_view text, size_t max_bytes) {
  return std::string(Excerpt(text, max_bytes));
}

std::string KeepEnd(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  size_t begin = text.size() - max_bytes;
  while (begin < text.size() && IsUtf8Continuation(text[begin])) ++begin;
  return std::string(text.substr(begin));
}

}  // namespace quantd
