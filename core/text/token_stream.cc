#include "core/text/token_stream.h"

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {

absl::StatusOr<TokenSequence> TokenStream(const Corpus& corpus, const Tokenizer& tokenizer) {
  TokenSequence stream;
  for (const std::string& document : corpus.documents) {
    absl::StatusOr<TokenSequence> ids = tokenizer.Encode(document);
    if (!ids.ok()) return WithContext(ids.status(), corpus.path);
    if (stream.empty()) {
      stream = *std::move(ids);
    } else {
      stream.insert(stream.end(), ids->begin(), ids->end());
    }
  }
  return stream;
}

absl::StatusOr<int32_t> RequireBos(const Tokenizer& tokenizer, absl::string_view purpose) {
  if (tokenizer.bos_id().has_value()) return *tokenizer.bos_id();
  return InvalidInput("BOS_UNKNOWN", absl::StrFormat("%s needs a BOS token, but %s names none; name it as bos_token in "
                                                     "tokenizer_config.json, or choose a setting without BOS",
                                                     purpose, tokenizer.source()));
}

}  // namespace quantd
