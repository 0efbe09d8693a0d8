#include "core/objects/xml.h"

#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int kMaxDepth = 8;
constexpr int kMaxElements = 100'000;
constexpr size_t kMaxEntityBytes = 10;  // "&#1114111;"

struct Entity {
  absl::string_view name;
  char character;
};
constexpr Entity kEntities[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};

class XmlReader {
 public:
  explicit XmlReader(absl::string_view text) : text_(text) {}

  absl::StatusOr<XmlElement> ReadDocument() {
    SkipProlog();
    XmlElement root;
    RETURN_IF_ERROR(ReadElement(root, /*depth=*/1));
    SkipSpace();
    if (!Rest().empty()) return Malformed("something follows the root element");
    return root;
  }

 private:
  absl::string_view Rest() const { return text_.substr(position_); }
  absl::Status Malformed(absl::string_view what) const {
    return ReasonError(
        absl::StatusCode::kInternal, "OBJECT_ANSWER_MALFORMED",
        absl::StrFormat("the object store's answer is no XML that is understood: at byte %d, %s", position_, what));
  }
  void SkipSpace() {
    while (position_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[position_]))) ++position_;
  }
  void SkipProlog() {
    SkipSpace();
    const size_t end = Rest().find("?>");
    if (absl::StartsWith(Rest(), "<?xml") && end != absl::string_view::npos) position_ += end + 2;
    SkipSpace();
  }

  // At "<name ...>": reads up to the matching "</name>".
  absl::Status ReadElement(XmlElement& element, int depth) {
    if (depth > kMaxDepth) return Malformed("elements are nested too deeply");
    if (++elements_ > kMaxElements) return Malformed("there are too many elements");
    bool empty = false;
    RETURN_IF_ERROR(ReadOpeningTag(element.name, empty));
    if (empty) return absl::OkStatus();
    while (true) {
      RETURN_IF_ERROR(ReadText(element.text));
      if (absl::StartsWith(Rest(), "</")) return ReadClosingTag(element.name);
      XmlElement child;
      RETURN_IF_ERROR(ReadElement(child, depth + 1));
      element.children.push_back(std::move(child));
    }
  }

  absl::Status ReadOpeningTag(std::string& name, bool& empty) {
    if (!absl::StartsWith(Rest(), "<")) return Malformed("an element should begin");
    ++position_;
    RETURN_IF_ERROR(ReadName(name));
    char quote = '\0';
    for (; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      if (quote != '\0') {
        if (c == quote) quote = '\0';
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (c == '<') {
        return Malformed("a tag begins within a tag");
      } else if (c == '>') {
        empty = text_[position_ - 1] == '/';
        ++position_;
        return absl::OkStatus();
      }
    }
    return Malformed("a tag does not end");
  }

  absl::Status ReadName(std::string& name) {
    const size_t begin = position_;
    while (position_ < text_.size() && IsNameCharacter(text_[position_])) ++position_;
    absl::string_view whole = text_.substr(begin, position_ - begin);
    if (whole.empty()) return Malformed("a tag has no name");
    if (const size_t colon = whole.rfind(':'); colon != absl::string_view::npos) whole.remove_prefix(colon + 1);
    name = std::string(whole);
    return absl::OkStatus();
  }

  static bool IsNameCharacter(char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.' || c == ':';
  }

  absl::Status ReadClosingTag(const std::string& name) {
    position_ += 2;
    std::string closed;
    RETURN_IF_ERROR(ReadName(closed));
    SkipSpace();
    if (closed != name || !absl::StartsWith(Rest(), ">")) return Malformed("a closing tag does not match");
    ++position_;
    return absl::OkStatus();
  }

  absl::Status ReadText(std::string& out) {
    while (position_ < text_.size() && text_[position_] != '<') {
      if (text_[position_] == '&') {
        RETURN_IF_ERROR(ReadEntity(out));
      } else {
        out.push_back(text_[position_++]);
      }
    }
    return position_ < text_.size() ? absl::OkStatus() : Malformed("an element does not end");
  }

  absl::Status ReadEntity(std::string& out) {
    const size_t end = Rest().substr(0, kMaxEntityBytes).find(';');
    if (end == absl::string_view::npos) return Malformed("an entity does not end");
    const absl::string_view name = Rest().substr(1, end - 1);
    position_ += end + 1;
    for (const Entity& entity : kEntities) {
      if (name != entity.name) continue;
      out.push_back(entity.character);
      return absl::OkStatus();
    }
    return AppendCharacter(name, out);
  }

  // "#10" or "#xA": only what one byte of ASCII holds; keys beyond that come percent-encoded.
  absl::Status AppendCharacter(absl::string_view name, std::string& out) {
    uint32_t code = 0;
    absl::string_view digits = name;
    const bool numeric = absl::ConsumePrefix(&digits, "#");
    const bool read =
        absl::ConsumePrefix(&digits, "x") ? absl::SimpleHexAtoi(digits, &code) : absl::SimpleAtoi(digits, &code);
    if (!numeric || !read || code == 0 || code > 127) return Malformed("an entity is unknown");
    out.push_back(static_cast<char>(code));
    return absl::OkStatus();
  }

  const absl::string_view text_;
  size_t position_ = 0;
  int elements_ = 0;
};

}  // namespace

const XmlElement* XmlElement::Find(absl::string_view child) const {
  for (const XmlElement& candidate : children) {
    if (candidate.name == child) return &candidate;
  }
  return nullptr;
}

std::string XmlElement::TextOf(absl::string_view child) const {
  const XmlElement* found = Find(child);
  return found == nullptr ? "" : found->text;
}

absl::StatusOr<XmlElement> ParseXml(absl::string_view text) {
  return XmlReader(text).ReadDocument();
}

std::string XmlEscape(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&apos;"}});
}

}  // namespace quantd
