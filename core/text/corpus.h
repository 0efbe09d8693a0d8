// Text files and how they become sequences of tokens.
#ifndef QUANTD_CORE_TEXT_CORPUS_H_
#define QUANTD_CORE_TEXT_CORPUS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/text/tokenizer.h"

namespace quantd {

using TokenSequence = std::vector<int32_t>;

struct Corpus {
  std::string path;
  std::string sha256;                  // of the file's bytes
  std::vector<std::string> documents;  // one for plain text; one a line for .jsonl ({"text": ...}); one an entry for a .json list of strings
};

// Reasons: FILE_NOT_FOUND, TEXT_EMPTY, TEXT_NOT_UTF8 (byte offset), JSONL_MALFORMED (line number).
absl::StatusOr<Corpus> ReadCorpus(const std::string& path);

struct CalibrationOptions {
  int64_t sequences = 128;
  int64_t length = 2048;
  uint64_t seed = 0;
  bool bos = false;  // each sequence begins with BOS and takes one token less from the text
};

// `sequences` windows of exactly `length` tokens cut at positions drawn from `seed` (the same on every machine) from the
// documents' token stream, without overlap when the text is long enough. CALIBRATION_TEXT_TOO_SHORT names tokens there and
// needed, and the largest setting that would work; BOS_UNKNOWN when bos is asked for and the tokenizer has none.
absl::StatusOr<std::vector<TokenSequence>> CalibrationSequences(const Corpus& corpus, const Tokenizer& tokenizer,
                                                                const CalibrationOptions& options);

// Which windows are scored and how: docs/evaluation.md. A window of n tokens has targets [first_target, n).
struct EvaluationWindow {
  TokenSequence tokens;
  int64_t first_target = 1;
};

struct EvaluationTokens {
  std::string protocol;
  std::vector<EvaluationWindow> windows;
  int64_t text_tokens = 0;          // of the whole text
  std::string token_stream_sha256;  // of all windows' tokens, little-endian int32
};

// protocol: "plain", "bos", "gptq-2048", "llamacpp-512" (the last two fix the context: 0 or their own number is accepted).
// max_windows 0: all. Reasons: PROTOCOL_UNKNOWN, CONTEXT_OUT_OF_RANGE, EVALUATION_TEXT_TOO_SHORT, BOS_UNKNOWN.
absl::StatusOr<EvaluationTokens> EvaluationWindows(const Corpus& corpus, const Tokenizer& tokenizer,
                                                   const std::string& protocol, int64_t context, int64_t max_windows);

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_CORPUS_H_
