#include "core/text/json_part.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/excerpt.h"
#include "core/text/utf8.h"

namespace quantd {
namespace {

// Real tokenizers have fewer than ten steps a part. Each step costs a pass over the text and may make it longer.
constexpr size_t kMaxSteps = 64;

// Messages quote names from the file, which may be as long as the file.
constexpr size_t kMaxProblemBytes = 400;

absl::Status Flatten(const Json& json, JsonPartName name, absl::string_view file, std::vector<JsonPart>* parts) {
  const std::string what = absl::StrCat(file, ": ", name.part);
  const Json& type = MemberOrNull(json, "type");
  if (!type.is_string()) return TokenizerMalformed(what, "each part must be an object with a text as 'type'");
  if (type != "Sequence") {
    if (parts->size() == kMaxSteps) return TokenizerUnsupported(what, absl::StrCat("more than ", kMaxSteps, " steps"));
    const std::string type_name(Excerpt(type.get_ref<const std::string&>()));
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
  return InvalidInput("TOKENIZER_MALFORMED", absl::StrCat(what, ": ", Excerpt(problem, kMaxProblemBytes)));
}

absl::Status TokenizerUnsupported(absl::string_view what, absl::string_view part) {
  return InvalidInput("TOKENIZER_UNSUPPORTED",
                      absl::StrCat(what, ": ", Excerpt(part, kMaxProblemBytes), " is not supported"));
}

absl::StatusOr<std::string> InsertedText(const JsonPart& part, absl::string_view key) {
  ASSIGN_OR_RETURN(std::string text, JsonString(*part.json, key, part.what));
  if (text.size() <= kMaxInsertedBytes) return text;
  return TokenizerUnsupported(part.what,
                              absl::StrCat("'", key, "' of ", text.size(), " bytes (at most ", kMaxInsertedBytes, ")"));
}

absl::StatusOr<std::string> CharacterOr(const JsonPart& part, absl::string_view key, absl::string_view fallback) {
  ASSIGN_OR_RETURN(std::string text, JsonStringOr(*part.json, key, fallback, part.what));
  size_t end = 0;
  if (!text.empty()) NextCodePoint(text, &end);
  if (!text.empty() && end == text.size()) return text;
  return TokenizerMalformed(part.what, absl::StrCat("'", key, "' must be one character"));
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
