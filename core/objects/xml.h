// The little XML that object stores answer with, read defensively: elements and text only. Attributes and namespaces
// are skipped; document types, which can name other files and grow without bound, are refused.
#ifndef QUANTD_CORE_OBJECTS_XML_H_
#define QUANTD_CORE_OBJECTS_XML_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

struct XmlElement {
  std::string name;  // without its namespace prefix
  std::string text;  // of the element itself, entities resolved
  std::vector<XmlElement> children;

  // The first child of this name, or nullptr.
  const XmlElement* Find(absl::string_view child) const;
  // Its text, or "".
  std::string TextOf(absl::string_view child) const;
};

// The root element. At most 8 levels and 100,000 elements. INTERNAL OBJECT_ANSWER_MALFORMED.
absl::StatusOr<XmlElement> ParseXml(absl::string_view text);

// `text` with the five characters escaped that have a meaning in XML.
std::string XmlEscape(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_XML_H_
