// The special tokens that tokenizer.json puts around an encoded text.
//
// Supported: Sequence, TemplateProcessing (its form for one text), ByteLevel (which changes no ids). Others are refused
// by name.
#ifndef QUANTD_CORE_TEXT_POST_PROCESSOR_H_
#define QUANTD_CORE_TEXT_POST_PROCESSOR_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/json.h"

namespace quantd {

struct Surroundings {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

// From the member "post_processor" of `document`. TOKENIZER_MALFORMED, TOKENIZER_UNSUPPORTED. Whether the ids exist is
// for the caller to check.
absl::StatusOr<Surroundings> SurroundingsFromJson(const Json& document, absl::string_view file);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_POST_PROCESSOR_H_
