#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/text/corpus.h"
#include "core/text/token_stream.h"

namespace quantd {
namespace {

constexpr int64_t kMaxContext = 1 << 20;

enum class Stream {
  kDocuments,          // each document alone, without special tokens
  kJoinedWithSpecial,  // documents joined by a blank line and encoded once with what the tokenizer puts around
  kDocumentsAfterBos,  // one BOS, then as kDocuments
};

enum class WindowHead {
  kFromStream,   // windows are the stream's tokens
  kBosInserted,  // BOS, then one token less of the stream
  kBosReplaces,  // the first token becomes BOS
};

struct Protocol {
  const char* name;
  Stream stream;
  WindowHead head;
  int64_t fixed_context;  // 0: the caller's choice
  bool second_half;       // only targets after the middle
};
constexpr Protocol kProtocols[] = {
    {"plain", Stream::kDocuments, WindowHead::kFromStream, 0, false},
    {"bos", Stream::kDocuments, WindowHead::kBosInserted, 0, false},
    {"gptq-2048", Stream::kJoinedWithSpecial, WindowHead::kFromStream, 2048, false},
    {"llamacpp-512", Stream::kDocumentsAfterBos, WindowHead::kBosReplaces, 512, true},
};

absl::StatusOr<Protocol> FindProtocol(const std::string& name) {
  for (const Protocol& protocol : kProtocols) {
    if (protocol.name == name) return protocol;
  }
  const auto name_of = [](std::string* out, const Protocol& protocol) { out->append(protocol.name); };
  return InvalidInput("PROTOCOL_UNKNOWN", absl::StrFormat("evaluation protocol '%s' is unknown; known are %s", name,
                                                          absl::StrJoin(kProtocols, ", ", name_of)));
}

absl::StatusOr<int64_t> ContextOf(const Protocol& protocol, int64_t context) {
  const bool is_fixed = protocol.fixed_context != 0;
  if (is_fixed && (context == 0 || context == protocol.fixed_context)) return protocol.fixed_context;
  if (!is_fixed && context >= 2 && context <= kMaxContext) return context;
  const std::string wanted =
      is_fixed ? absl::StrCat("0 or ", protocol.fixed_context) : absl::StrCat("from 2 to ", kMaxContext);
  return InvalidInput("CONTEXT_OUT_OF_RANGE",
                      absl::StrFormat("evaluation context %d: protocol %s takes %s", context, protocol.name, wanted));
}

absl::StatusOr<TokenSequence> StreamOf(const Protocol& protocol, const Corpus& corpus, const Tokenizer& tokenizer) {
  if (protocol.stream != Stream::kJoinedWithSpecial) return TokenStream(corpus, tokenizer);
  absl::StatusOr<TokenSequence> ids = tokenizer.EncodeWithSpecial(absl::StrJoin(corpus.documents, "\n\n"));
  if (!ids.ok()) return WithContext(ids.status(), corpus.path);
  return ids;
}

// What is the same for all windows.
struct WindowRule {
  WindowHead head;
  int32_t bos;  // where `head` wants one
  int64_t context;
  int64_t first_target;

  // Tokens of the stream that one window takes.
  int64_t step() const { return head == WindowHead::kBosInserted ? context - 1 : context; }
};

EvaluationWindow MakeWindow(const TokenSequence& stream, int64_t begin, const WindowRule& rule) {
  EvaluationWindow window;
  window.first_target = rule.first_target;
  window.tokens.reserve(static_cast<size_t>(rule.context));
  if (rule.head == WindowHead::kBosInserted) window.tokens.push_back(rule.bos);
  window.tokens.insert(window.tokens.end(), stream.begin() + begin, stream.begin() + begin + rule.step());
  if (rule.head == WindowHead::kBosReplaces) window.tokens.front() = rule.bos;
  return window;
}

std::string DigestOf(const std::vector<EvaluationWindow>& windows) {
  Sha256 digest;
  std::string bytes;
  for (const EvaluationWindow& window : windows) {
    bytes.clear();
    for (const int32_t id : window.tokens) {
      for (int shift = 0; shift < 32; shift += 8)
        bytes.push_back(static_cast<char>(static_cast<uint32_t>(id) >> shift));
    }
    digest.Update(bytes);
  }
  return digest.Finish();
}

absl::StatusOr<WindowRule> RuleOf(const Protocol& protocol, int64_t context, const Tokenizer& tokenizer) {
  WindowRule rule{.head = protocol.head, .bos = -1, .context = context, .first_target = 1};
  if (protocol.head != WindowHead::kFromStream) {
    ASSIGN_OR_RETURN(rule.bos, RequireBos(tokenizer, absl::StrCat("protocol ", protocol.name)));
  }
  // Position n/2 is the first whose prediction counts; it predicts token n/2 + 1.
  if (protocol.second_half) rule.first_target = context / 2 + 1;
  return rule;
}

}  // namespace

absl::StatusOr<EvaluationTokens> EvaluationWindows(const Corpus& corpus, const Tokenizer& tokenizer,
                                                   const std::string& protocol_name, int64_t context,
                                                   int64_t max_windows) {
  ASSIGN_OR_RETURN(const Protocol protocol, FindProtocol(protocol_name));
  ASSIGN_OR_RETURN(const int64_t window_context, ContextOf(protocol, context));
  if (max_windows < 0) {
    return InvalidInput("WINDOWS_OUT_OF_RANGE", absl::StrFormat("evaluation windows %d: 0 (all) or more", max_windows));
  }
  ASSIGN_OR_RETURN(const WindowRule rule, RuleOf(protocol, window_context, tokenizer));
  ASSIGN_OR_RETURN(TokenSequence stream, StreamOf(protocol, corpus, tokenizer));
  EvaluationTokens result;
  result.protocol = protocol.name;
  result.text_tokens = static_cast<int64_t>(stream.size());
  if (protocol.stream == Stream::kDocumentsAfterBos) stream.insert(stream.begin(), rule.bos);
  const int64_t available = static_cast<int64_t>(stream.size()) / rule.step();
  if (available == 0) {
    return InvalidInput("EVALUATION_TEXT_TOO_SHORT",
                        absl::StrFormat("%s: %d tokens, but one window of protocol %s takes %d; take a longer text%s",
                                        corpus.path, stream.size(), protocol.name, rule.step(),
                                        protocol.fixed_context == 0 ? " or a shorter context" : ""));
  }
  const int64_t count = max_windows == 0 ? available : std::min(available, max_windows);
  for (int64_t i = 0; i < count; ++i) result.windows.push_back(MakeWindow(stream, i * rule.step(), rule));
  result.token_stream_sha256 = DigestOf(result.windows);
  return result;
}

}  // namespace quantd
