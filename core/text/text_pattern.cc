#include "core/text/text_pattern.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/excerpt.h"
#include "core/text/text_check.h"

namespace quantd {

absl::StatusOr<TextPattern> TextPattern::FromJson(const Json& pattern, absl::string_view what) {
  if (!pattern.is_object() || pattern.size() != 1 || !pattern.begin().value().is_string()) {
    return InvalidInput("TOKENIZER_MALFORMED", absl::StrCat(what, ": 'pattern' must be {\"String\"} or {\"Regex\"}"));
  }
  const std::string& text = pattern.begin().value().get_ref<const std::string&>();
  if (pattern.begin().key() == "Regex") {
    absl::StatusOr<TextPattern> result = FromRegex(text);
    if (!result.ok()) return WithContext(result.status(), what);
    return result;
  }
  if (pattern.begin().key() != "String") {
    return InvalidInput("TOKENIZER_UNSUPPORTED",
                        absl::StrCat(what, ": pattern kind '", Excerpt(pattern.begin().key()), "'"));
  }
  TextPattern result;
  result.literal_ = text;
  return result;
}

absl::StatusOr<TextPattern> TextPattern::FromRegex(absl::string_view regex) {
  TextPattern result;
  ASSIGN_OR_RETURN(result.regex_, Regex::Compile(regex));
  return result;
}

absl::Status TextPattern::FindAll(absl::string_view text, RegexScratch* scratch, std::vector<Match>* matches) const {
  if (regex_.has_value()) return regex_->FindAll(text, scratch, matches);
  FindAllLiteral(text, literal_, matches);
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextPattern::ReplaceAll(absl::string_view text, absl::string_view content,
                                                    RegexScratch* scratch) const {
  std::vector<Match> matches;
  RETURN_IF_ERROR(FindAll(text, scratch, &matches));
  if (matches.size() * content.size() > kMaxTextBytes) {  // neither factor reaches 2^32
    return InvalidInput("TEXT_TOO_LARGE",
                        absl::StrFormat("replacing %d matches by %d bytes each makes a text too large", matches.size(),
                                        content.size()));
  }
  std::string out;
  out.reserve(text.size() + matches.size() * content.size());
  size_t position = 0;
  for (const Match& match : matches) {
    absl::StrAppend(&out, text.substr(position, match.begin - position), content);
    position = match.end;
  }
  absl::StrAppend(&out, text.substr(position));
  return out;
}

}  // namespace quantd
