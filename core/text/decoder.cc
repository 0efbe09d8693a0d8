#include "core/text/decoder.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "core/text/byte_alphabet.h"
#include "core/text/json_part.h"
#include "core/text/utf8.h"

namespace quantd {
namespace {

constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// The byte of a token "<0xHH>".
std::optional<char> FallbackByte(absl::string_view token) {
  if (token.size() != 6 || !absl::StartsWith(token, "<0x") || token[5] != '>') return std::nullopt;
  const absl::string_view digits = token.substr(3, 2);
  unsigned value = 0;
  if (digits.find_first_not_of("0123456789abcdefABCDEF") != absl::string_view::npos) return std::nullopt;
  if (!absl::SimpleHexAtoi(digits, &value)) return std::nullopt;
  return static_cast<char>(value);
}

// A run of byte tokens is text as a whole or nothing: if it is not UTF-8, each byte of it becomes one U+FFFD.
void FlushBytes(std::string* bytes, std::vector<std::string>* out) {
  if (bytes->empty()) return;
  if (FirstInvalidUtf8(*bytes).has_value()) {
    out->insert(out->end(), bytes->size(), std::string(kReplacementCharacter));
  } else {
    out->push_back(*bytes);
  }
  bytes->clear();
}

void JoinFallbackBytes(std::vector<std::string>* tokens) {
  std::vector<std::string> out;
  std::string bytes;
  for (std::string& token : *tokens) {
    if (const std::optional<char> byte = FallbackByte(token)) {
      bytes.push_back(*byte);
    } else {
      FlushBytes(&bytes, &out);
      out.push_back(std::move(token));
    }
  }
  FlushBytes(&bytes, &out);
  *tokens = std::move(out);
}

void Fuse(std::vector<std::string>* tokens) {
  *tokens = {absl::StrJoin(*tokens, "")};
}

// A token with a character outside the byte alphabet stands for its own bytes.
void DecodeByteLevel(std::vector<std::string>* tokens) {
  std::string bytes;
  for (const std::string& token : *tokens) {
    std::optional<std::string> spelled = SpelledBytes(token);
    bytes += spelled.has_value() ? *spelled : token;
  }
  *tokens = {LossyUtf8(bytes)};
}

struct StripRule {
  std::string content;
  int64_t start;  // at most so many at the beginning of each token
  int64_t stop;   // and at its end
};

void Strip(const StripRule& rule, std::string* token) {
  absl::string_view rest = *token;
  for (int64_t i = 0; i < rule.start && absl::StartsWith(rest, rule.content); ++i) {
    rest.remove_prefix(rule.content.size());
  }
  for (int64_t i = 0; i < rule.stop && absl::EndsWith(rest, rule.content); ++i) {
    rest.remove_suffix(rule.content.size());
  }
  *token = std::string(rest);
}

}  // namespace

struct DecoderFactories {
  using Step = Decoder::Step;

  static absl::StatusOr<Step> ByteLevel(const JsonPart&) { return Step(&DecodeByteLevel); }
  static absl::StatusOr<Step> ByteFallback(const JsonPart&) { return Step(&JoinFallbackBytes); }
  static absl::StatusOr<Step> FuseAll(const JsonPart&) { return Step(&Fuse); }

  static absl::StatusOr<Step> Replace(const JsonPart& part) {
    const Json& pattern = MemberOrNull(*part.json, "pattern");
    if (!MemberOrNull(pattern, "Regex").is_null()) return TokenizerUnsupported(part.what, "a regular expression");
    ASSIGN_OR_RETURN(const std::string from, JsonString(pattern, "String", part.what));
    ASSIGN_OR_RETURN(const std::string to, InsertedText(part, "content"));
    if (from.empty()) return TokenizerMalformed(part.what, "the pattern is empty");
    return [from, to](std::vector<std::string>* tokens) {
      for (std::string& token : *tokens) token = absl::StrReplaceAll(token, {{from, to}});
    };
  }

  static absl::StatusOr<Step> StripEnds(const JsonPart& part) {
    StripRule rule;
    ASSIGN_OR_RETURN(rule.content, JsonString(*part.json, "content", part.what));
    ASSIGN_OR_RETURN(rule.start, JsonIntOr(*part.json, "start", 0, part.what));
    ASSIGN_OR_RETURN(rule.stop, JsonIntOr(*part.json, "stop", 0, part.what));
    if (rule.content.empty()) return TokenizerMalformed(part.what, "'content' is empty");
    return [rule](std::vector<std::string>* tokens) {
      for (std::string& token : *tokens) Strip(rule, &token);
    };
  }

  // The replacement is a blank; in the first token it is nothing, since encoding put it there.
  static absl::StatusOr<Step> Metaspace(const JsonPart& part) {
    ASSIGN_OR_RETURN(const std::string mark, CharacterOr(part, "replacement", "\u2581"));
    ASSIGN_OR_RETURN(const bool prefix, JsonBoolOr(*part.json, "add_prefix_space", true, part.what));
    ASSIGN_OR_RETURN(const std::string scheme,
                     JsonStringOr(*part.json, "prepend_scheme", prefix ? "always" : "never", part.what));
    const std::string at_start = scheme == "never" ? " " : "";
    return [mark, at_start](std::vector<std::string>* tokens) {
      for (size_t i = 0; i < tokens->size(); ++i) {
        (*tokens)[i] = absl::StrReplaceAll((*tokens)[i], {{mark, i == 0 ? at_start : " "}});
      }
    };
  }
};

namespace {

struct Factory {
  const char* type;
  absl::StatusOr<std::function<void(std::vector<std::string>*)>> (*make)(const JsonPart& part);
};
constexpr Factory kFactories[] = {
    {"ByteLevel", &DecoderFactories::ByteLevel},       {"Replace", &DecoderFactories::Replace},
    {"ByteFallback", &DecoderFactories::ByteFallback}, {"Fuse", &DecoderFactories::FuseAll},
    {"Strip", &DecoderFactories::StripEnds},           {"Metaspace", &DecoderFactories::Metaspace}};

const Factory* FindFactory(absl::string_view type) {
  for (const Factory& factory : kFactories) {
    if (factory.type == type) return &factory;
  }
  return nullptr;
}

constexpr size_t kMaxGrowth = 64;

size_t SizeOf(const Json& text) {
  return text.is_string() ? text.get_ref<const std::string&>().size() : 0;
}

// Replacements that each make a token longer multiply.
absl::Status CheckGrowth(const std::vector<JsonPart>& parts, absl::string_view file) {
  size_t growth = 1;
  for (const JsonPart& part : parts) {
    const size_t from = SizeOf(MemberOrNull(MemberOrNull(*part.json, "pattern"), "String"));
    const size_t to = SizeOf(MemberOrNull(*part.json, "content"));
    if (part.type == "Replace" && from > 0 && from < to) growth *= (to + from - 1) / from;
    if (growth > kMaxGrowth) return TokenizerUnsupported(file, "a decoder whose replacements make a text much longer");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Decoder> Decoder::FromJson(const Json& document, absl::string_view file) {
  ASSIGN_OR_RETURN(const std::vector<JsonPart> parts, FlattenPart(document, {"decoder", "decoders"}, file));
  RETURN_IF_ERROR(CheckGrowth(parts, file));
  Decoder decoder;
  for (const JsonPart& part : parts) {
    const Factory* factory = FindFactory(part.type);
    if (factory == nullptr) return TokenizerUnsupported(file, absl::StrCat("decoder '", part.type, "'"));
    ASSIGN_OR_RETURN(Step step, factory->make(part));
    decoder.steps_.push_back(std::move(step));
  }
  return decoder;
}

std::string Decoder::Decode(std::vector<std::string> tokens) const {
  if (steps_.empty()) return absl::StrJoin(tokens, " ");
  for (const Step& step : steps_) step(&tokens);
  return absl::StrJoin(tokens, "");
}

}  // namespace quantd
