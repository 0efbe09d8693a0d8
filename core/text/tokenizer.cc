#include "core/text/tokenizer.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/base/file_system.h"
#include "core/text/bpe_tokenizer.h"
#include "core/text/tokenizer_files.h"

namespace quantd {

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizerJson(const std::string& path) {
  ASSIGN_OR_RETURN(const Json document, ReadTokenizerJson(path, kMaxTokenizerJsonBytes));
  ASSIGN_OR_RETURN(const TokenizerConfig config, ReadTokenizerConfig(DirectoryName(path)));
  return MakeBpeTokenizer(document, config, path);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& folder) {
  FileSystem& files = RealFileSystem();
  const auto has = [&](const char* name) { return files.Exists(JoinPath(folder, name)); };
  if (has(kTokenizerJsonFile)) return OpenTokenizerJson(JoinPath(folder, kTokenizerJsonFile));
  if (has(kSentencePieceFile)) return OpenSentencePiece(JoinPath(folder, kSentencePieceFile));
  if (has(kVocabularyFile) && has(kMergesFile)) return OpenVocabAndMerges(folder);
  return ReasonError(
      absl::StatusCode::kNotFound, "TOKENIZER_MISSING",
      absl::StrFormat("%s: no tokenizer here; wanted is %s, or %s, or %s with %s: copy them from where the "
                      "model comes from",
                      folder, kTokenizerJsonFile, kSentencePieceFile, kVocabularyFile, kMergesFile));
}

}  // namespace quantd
