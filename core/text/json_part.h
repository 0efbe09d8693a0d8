// Walking the "type"-tagged parts of tokenizer.json: normalizer, pre_tokenizer, decoder, post_processor.
#ifndef QUANTD_CORE_TEXT_JSON_PART_H_
#define QUANTD_CORE_TEXT_JSON_PART_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/json.h"

namespace quantd {

absl::Status TokenizerMalformed(absl::string_view what, absl::string_view problem);
absl::Status TokenizerUnsupported(absl::string_view what, absl::string_view part);

// One step of a part, with the name for messages ("/m/tokenizer.json: decoder 'Strip'").
struct JsonPart {
  const Json* json;  // an object with a text as "type"; lives as long as the document
  std::string type;
  std::string what;
};

// Where a part is to be found and how its sequence is called.
struct JsonPartName {
  const char* part;    // "decoder"
  const char* member;  // of {"type": "Sequence"}: "decoders"
};

// The steps of document[part], with all "Sequence" objects flattened in order; none when it is absent or null.
// TOKENIZER_MALFORMED.
absl::StatusOr<std::vector<JsonPart>> FlattenPart(const Json& document, JsonPartName name, absl::string_view file);

// What a step puts into the text ("content", "prepend"): at most kMaxInsertedBytes, so that a text cannot be blown up.
// TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED.
inline constexpr size_t kMaxInsertedBytes = 64;
absl::StatusOr<std::string> InsertedText(const JsonPart& part, absl::string_view key);

// One character, `fallback` when the key is absent or null. TOKENIZER_MALFORMED.
absl::StatusOr<std::string> CharacterOr(const JsonPart& part, absl::string_view key, absl::string_view fallback);

// document[name], or null when it is absent.
const Json& MemberOrNull(const Json& document, absl::string_view name);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_JSON_PART_H_
