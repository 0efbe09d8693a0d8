#include "core/text/bpe_description.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/excerpt.h"
#include "core/text/json_part.h"

namespace quantd {
namespace {

// Old files leave the type out; a list of merges says the same.
absl::Status CheckType(const Json& model, absl::string_view file) {
  if (!model.is_object()) return TokenizerMalformed(file, "'model' must be an object");
  const Json& type = MemberOrNull(model, "type");
  if (type == "BPE" || (type.is_null() && MemberOrNull(model, "merges").is_array())) return absl::OkStatus();
  return TokenizerUnsupported(file, absl::StrCat("model type ", Excerpt(type.dump())));
}

absl::Status CheckRefusedFields(const Json& model, absl::string_view file) {
  const Json& dropout = MemberOrNull(model, "dropout");
  if (!dropout.is_null() && dropout != 0.0) {
    return TokenizerUnsupported(file, "model.dropout (it would make encoding random)");
  }
  for (const char* field : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& value = MemberOrNull(model, field);
    if (!value.is_null() && value != "") return TokenizerUnsupported(file, absl::StrCat("model.", field));
  }
  return absl::OkStatus();
}

absl::Status ReadVocabulary(const Json& model, BpeDescription* description) {
  const Json& vocabulary = MemberOrNull(model, "vocab");
  if (!vocabulary.is_object()) return TokenizerMalformed(description->file, "'model.vocab' must be an object");
  description->vocabulary.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary.items()) {
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT64_MAX)) {
      return TokenizerMalformed(description->file,
                                absl::StrCat("the id of token '", Excerpt(token), "' must be an integer"));
    }
    description->vocabulary.emplace_back(token, id.get<int64_t>());
  }
  return absl::OkStatus();
}

// A pair ["a", "b"], or in old files the text "a b".
std::optional<std::pair<std::string, std::string>> MergeOf(const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (!merge.is_string()) return std::nullopt;
  const std::string& text = merge.get_ref<const std::string&>();
  const size_t blank = text.find(' ');
  if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) return std::nullopt;
  return std::pair(text.substr(0, blank), text.substr(blank + 1));
}

absl::Status ReadMerges(const Json& model, BpeDescription* description) {
  const Json& merges = MemberOrNull(model, "merges");
  if (!merges.is_array()) return TokenizerMalformed(description->file, "'model.merges' must be a list");
  description->merges.reserve(merges.size());
  for (const Json& merge : merges) {
    auto pair = MergeOf(merge);
    if (!pair.has_value()) {
      return TokenizerMalformed(description->file,
                                absl::StrFormat("merge %d must be a pair of texts", description->merges.size()));
    }
    description->merges.push_back(*std::move(pair));
  }
  return absl::OkStatus();
}

struct Flag {
  const char* name;
  bool BpeDescription::*field;
};
constexpr Flag kFlags[] = {{"fuse_unk", &BpeDescription::fuse_unknown},
                           {"byte_fallback", &BpeDescription::byte_fallback},
                           {"ignore_merges", &BpeDescription::ignore_merges}};

}  // namespace

absl::StatusOr<BpeDescription> BpeDescriptionFromJson(const Json& document, absl::string_view file) {
  const Json& model = MemberOrNull(document, "model");
  RETURN_IF_ERROR(CheckType(model, file));
  RETURN_IF_ERROR(CheckRefusedFields(model, file));
  BpeDescription description;
  description.file = std::string(file);
  RETURN_IF_ERROR(ReadVocabulary(model, &description));
  RETURN_IF_ERROR(ReadMerges(model, &description));
  const Json& unknown = MemberOrNull(model, "unk_token");
  if (unknown.is_string()) description.unknown_token = unknown.get<std::string>();
  for (const Flag& flag : kFlags) {
    ASSIGN_OR_RETURN(description.*flag.field, JsonBoolOr(model, flag.name, false, file));
  }
  return description;
}

}  // namespace quantd
