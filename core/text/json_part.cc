#include "core/text/json_part.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

absl::Status Flatten(const Json& json, JsonPartName name, absl::string_view file, std::vector<JsonPart>* parts) {
  const std::string what = absl::StrCat(file, ": ", name.part);
  const Json& type = MemberOrNull(json, "type");
  if (!type.is_string()) return TokenizerMalformed(what, "each part must be an object with a text as 'type'");
  if (type != "Sequence") {
    const std::string type_name = type.get<std::string>();
    parts->push_back({&json, type_name, absl::StrCat(what, " '", type_name, "'")});
    return absl::OkStatus();
  }
  const Json& members = MemberOrNull(json, name.member);
  if (!members.is_array()) return TokenizerMalformed(what, absl::StrCat("'", name.member, "' must be a list"));
  for (const Json& member : members) RETURN_IF_ERROR(Flatten(member, name, file, parts));
  return absl::OkStatus();
}

}  // namespace

absl::Status TokenizerMalformed(absl::string_view what, absl::string_view problem) {
  return InvalidInput("TOKENIZER_MALFORMED", absl::StrCat(what, ": ", problem));
}

absl::Status TokenizerUnsupported(absl::string_view what, absl::string_view part) {
  return InvalidInput("TOKENIZER_UNSUPPORTED", absl::StrCat(what, ": ", part, " is not supported"));
}

const Json& MemberOrNull(const Json& document, absl::string_view name) {
  static const Json* const kNull = new Json();
  if (!document.is_object()) return *kNull;
  const auto found = document.find(std::string(name));
  return found == document.end() ? *kNull : *found;
}

absl::StatusOr<std::vector<JsonPart>> FlattenPart(const Json& document, JsonPartName name, absl::string_view file) {
  std::vector<JsonPart> parts;
  const Json& json = MemberOrNull(document, name.part);
  if (!json.is_null()) RETURN_IF_ERROR(Flatten(json, name, file, &parts));
  return parts;
}

}  // namespace quantd
