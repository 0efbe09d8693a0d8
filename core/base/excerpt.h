// The front of a text that came from a file or socket, as much of it as a message shows.
#ifndef QUANTD_CORE_BASE_EXCERPT_H_
#define QUANTD_CORE_BASE_EXCERPT_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace quantd {

// At most `limit` bytes of UTF-8 text, never cut inside a character.
inline absl::string_view Excerpt(absl::string_view text, size_t limit = 64) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
  return text.substr(0, limit);
}

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_EXCERPT_H_
