#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/text/corpus.h"
#include "core/text/random.h"
#include "core/text/token_stream.h"

namespace quantd {
namespace {

constexpr int64_t kMaxSequences = 1 << 20;
constexpr int64_t kMaxLength = 1 << 20;
constexpr int64_t kMaxTokens = 1 << 27;  // of all sequences: half a gigabyte of ids

absl::Status CheckOptions(const CalibrationOptions& options) {
  const int64_t shortest = options.bos ? 2 : 1;
  if (options.sequences < 1 || options.sequences > kMaxSequences) {
    return WithField(InvalidInput("CALIBRATION_OUT_OF_RANGE", absl::StrFormat("calibration: %d sequences; from 1 to %d",
                                                                              options.sequences, kMaxSequences)),
                     "sequences");
  }
  if (options.length < shortest || options.length > kMaxLength) {
    return WithField(InvalidInput("CALIBRATION_OUT_OF_RANGE", absl::StrFormat("calibration: length %d; from %d to %d",
                                                                              options.length, shortest, kMaxLength)),
                     "length");
  }
  if (options.sequences * options.length > kMaxTokens) {
    return WithField(InvalidInput("CALIBRATION_OUT_OF_RANGE",
                                  absl::StrFormat("calibration: %d sequences of %d tokens; at most %d tokens together",
                                                  options.sequences, options.length, kMaxTokens)),
                     "sequences");
  }
  return absl::OkStatus();
}

// `taken` tokens of the text go into a sequence. As many sequences as there are places where one may begin are
// possible.
absl::Status CheckEnough(int64_t tokens, int64_t taken, const CalibrationOptions& options, const std::string& path) {
  const int64_t places = tokens - taken + 1;
  if (places >= options.sequences) return absl::OkStatus();
  const int64_t needed = taken + options.sequences - 1;
  const int64_t longest = tokens - options.sequences + 1 + (options.length - taken);
  const std::string largest =
      places >= 1 ? absl::StrFormat("sequences = %d at this length", places)
      : longest >= 1
          ? absl::StrFormat("length = %d for %d sequences", longest, options.sequences)
          : absl::StrFormat("sequences = 1 and length = %d", std::max<int64_t>(tokens + options.length - taken, 0));
  return InvalidInput("CALIBRATION_TEXT_TOO_SHORT",
                      absl::StrFormat("%s: the text has %d tokens, but %d sequences of %d need at least %d; the most "
                                      "that it gives is %s, or take a longer text",
                                      path, tokens, options.sequences, options.length, needed, largest));
}

// Gaps between sequences are random, their sum is what the sequences leave over.
std::vector<int64_t> ApartStarts(int64_t tokens, int64_t taken, const CalibrationOptions& options) {
  const uint64_t spare = static_cast<uint64_t>(tokens - taken * options.sequences);
  SplitMix64 random(options.seed);
  std::vector<int64_t> starts(static_cast<size_t>(options.sequences));
  for (int64_t& start : starts) start = static_cast<int64_t>(random.Below(spare + 1));
  std::sort(starts.begin(), starts.end());
  for (size_t i = 0; i < starts.size(); ++i) starts[i] += static_cast<int64_t>(i) * taken;
  return starts;
}

// One start from each of equal stretches of the possible ones: different, and overlapping as little as chance allows.
std::vector<int64_t> OverlappingStarts(int64_t tokens, int64_t taken, const CalibrationOptions& options) {
  const int64_t places = tokens - taken + 1;
  SplitMix64 random(options.seed);
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < options.sequences; ++i) {
    const int64_t begin = i * places / options.sequences;
    const int64_t end = (i + 1) * places / options.sequences;
    starts.push_back(begin + static_cast<int64_t>(random.Below(static_cast<uint64_t>(end - begin))));
  }
  return starts;
}

}  // namespace

absl::StatusOr<std::vector<TokenSequence>> CalibrationSequences(const Corpus& corpus, const Tokenizer& tokenizer,
                                                                const CalibrationOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  TokenSequence head;
  if (options.bos) {
    ASSIGN_OR_RETURN(const int32_t bos, RequireBos(tokenizer, "calibration with bos"));
    head.push_back(bos);
  }
  ASSIGN_OR_RETURN(const TokenSequence stream, TokenStream(corpus, tokenizer));
  const int64_t tokens = static_cast<int64_t>(stream.size());
  const int64_t taken = options.length - static_cast<int64_t>(head.size());
  RETURN_IF_ERROR(CheckEnough(tokens, taken, options, corpus.path));
  const bool apart = options.sequences * taken <= tokens;
  std::vector<TokenSequence> sequences;
  for (const int64_t start : apart ? ApartStarts(tokens, taken, options) : OverlappingStarts(tokens, taken, options)) {
    TokenSequence& sequence = sequences.emplace_back(head);
    sequence.insert(sequence.end(), stream.begin() + start, stream.begin() + start + taken);
  }
  return sequences;
}

}  // namespace quantd
