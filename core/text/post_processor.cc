#include "core/text/post_processor.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/excerpt.h"
#include "core/text/bpe_model.h"
#include "core/text/json_part.h"

namespace quantd {
namespace {

// Appends the ids of template piece {"SpecialToken": {"id": NAME}}, which special_tokens[NAME].ids lists.
absl::Status AppendSpecialToken(const JsonPart& part, const Json& piece, std::vector<int32_t>* ids) {
  ASSIGN_OR_RETURN(const std::string name, JsonString(piece, "id", part.what));
  const Json& listed = MemberOrNull(MemberOrNull(MemberOrNull(*part.json, "special_tokens"), name), "ids");
  if (!listed.is_array()) {
    return TokenizerMalformed(part.what, absl::StrCat("special_tokens has no ids for '", Excerpt(name), "'"));
  }
  for (const Json& id : listed) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(kMaxTokenId)) {
      return TokenizerMalformed(part.what, absl::StrCat("'", Excerpt(name), "' has an id that is no token id"));
    }
    ids->push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<Surroundings> ReadTemplate(const JsonPart& part) {
  const Json& pieces = MemberOrNull(*part.json, "single");
  if (!pieces.is_array()) return TokenizerMalformed(part.what, "'single' must be a list");
  Surroundings result;
  bool text_seen = false;
  for (const Json& piece : pieces) {
    const Json& special = MemberOrNull(piece, "SpecialToken");
    if (!special.is_null()) {
      RETURN_IF_ERROR(AppendSpecialToken(part, special, text_seen ? &result.after : &result.before));
      continue;
    }
    if (MemberOrNull(MemberOrNull(piece, "Sequence"), "id") != "A" || text_seen) {
      return TokenizerMalformed(part.what, "'single' may hold special tokens and sequence A once");
    }
    text_seen = true;
  }
  if (!text_seen) return TokenizerMalformed(part.what, "'single' lacks sequence A");
  return result;
}

}  // namespace

absl::StatusOr<Surroundings> SurroundingsFromJson(const Json& document, absl::string_view file) {
  ASSIGN_OR_RETURN(const std::vector<JsonPart> parts, FlattenPart(document, {"post_processor", "processors"}, file));
  Surroundings all;
  for (const JsonPart& part : parts) {
    if (part.type == "ByteLevel") continue;  // moves offsets, which nobody asks for here
    if (part.type != "TemplateProcessing") {
      return TokenizerUnsupported(file, absl::StrCat("post_processor '", part.type, "'"));
    }
    ASSIGN_OR_RETURN(const Surroundings added, ReadTemplate(part));
    all.before.insert(all.before.begin(), added.before.begin(), added.before.end());
    all.after.insert(all.after.end(), added.after.begin(), added.after.end());
  }
  return all;
}

}  // namespace quantd
