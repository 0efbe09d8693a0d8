#include "core/text/text_check.h"

#include <optional>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/text/utf8.h"

namespace quantd {

absl::Status CheckText(absl::string_view text) {
  if (text.size() > kMaxTextBytes) {
    return InvalidInput(
        "TEXT_TOO_LARGE",
        absl::StrFormat("a text of %d bytes; the limit is %d, split it into documents", text.size(), kMaxTextBytes));
  }
  const std::optional<size_t> invalid = FirstInvalidUtf8(text);
  if (!invalid.has_value()) return absl::OkStatus();
  return InvalidInput("TEXT_NOT_UTF8",
                      absl::StrFormat("the text is not UTF-8 at byte %d (0x%02X); convert it, e.g. with iconv",
                                      *invalid, static_cast<unsigned char>(text[*invalid])));
}

}  // namespace quantd
