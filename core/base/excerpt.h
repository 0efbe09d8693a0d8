// The front of a text that came from a file or socket, as much of it as a message shows.
#ifndef QUANTD_CORE_BASE_EXCERPT_H_
#define QUANTD_CORE_BASE_EXCERPT_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace quantd {

// A byte that goes on with the character before it.
inline bool IsUtf8Continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

// At most `limit` bytes of UTF-8 text, never cut inside a character.
inline absl::string_view Excerpt(absl::string_view text, size_t limit = 64) {
  if (text.size() <= limit) return text;
  while (limit > 0 && IsUtf8Continuation(text[limit])) --limit;
  return text.substr(0, limit);
}

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_EXCERPT_H_
