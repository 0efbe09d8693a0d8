// Names and limits of tokenizer files.
#ifndef QUANTD_CORE_TEXT_TOKENIZER_FILES_H_
#define QUANTD_CORE_TEXT_TOKENIZER_FILES_H_

#include <cstdint>

namespace quantd {

inline constexpr char kTokenizerJsonFile[] = "tokenizer.json";
inline constexpr char kSentencePieceFile[] = "tokenizer.model";
inline constexpr char kVocabularyFile[] = "vocab.json";
inline constexpr char kMergesFile[] = "merges.txt";

inline constexpr uint64_t kMaxTokenizerJsonBytes = uint64_t{256} << 20;  // formats.md section 2
inline constexpr uint64_t kMaxSentencePieceBytes = uint64_t{64} << 20;

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_TOKENIZER_FILES_H_
