#include "core/text/pre_tokenizer.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/text/byte_alphabet.h"
#include "core/text/json_part.h"
#include "core/text/split.h"
#include "core/text/text_pattern.h"

namespace quantd {
namespace {

// GPT-2's pattern, which ByteLevel has built in.
constexpr absl::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr absl::string_view kPunctuationPattern = R"([\p{P}$+<=>\^`|~])";
constexpr absl::string_view kWordPattern = R"([\w\u200C\u200D]+|[^\w\u200C\u200D\s]+)";

// Replaces each piece by its parts.
absl::Status SplitPieces(const TextPattern& pattern, SplitRule rule, Pieces* pieces, RegexScratch* scratch) {
  std::vector<TextPiece> parts;
  parts.reserve(pieces->list.size());
  std::vector<Match> matches;
  for (const TextPiece& piece : pieces->list) {
    matches.clear();
    RETURN_IF_ERROR(pattern.FindAll(piece.text, scratch, &matches));
    for (const Match& part : SplitAtMatches(piece.text.size(), matches, rule)) {
      parts.push_back({piece.text.substr(part.begin, part.end - part.begin), piece.at_text_start && part.begin == 0});
    }
  }
  pieces->list = std::move(parts);
  return absl::OkStatus();
}

absl::string_view Keep(std::string text, Pieces* pieces) {
  return pieces->rewritten.emplace_back(std::move(text));
}

}  // namespace

struct PreTokenizerFactories {
  using Step = PreTokenizer::Step;

  static Step SplitStep(TextPattern pattern, SplitRule rule) {
    const auto shared = std::make_shared<const TextPattern>(std::move(pattern));
    return
        [shared, rule](Pieces* pieces, RegexScratch* scratch) { return SplitPieces(*shared, rule, pieces, scratch); };
  }

  static absl::StatusOr<Step> RegexStep(absl::string_view regex, SplitRule rule) {
    ASSIGN_OR_RETURN(TextPattern pattern, TextPattern::FromRegex(regex));
    return SplitStep(std::move(pattern), rule);
  }

  static absl::StatusOr<SplitBehavior> BehaviorOf(const JsonPart& part) {
    ASSIGN_OR_RETURN(const std::string name, JsonStringOr(*part.json, "behavior", "Isolated", part.what));
    const std::optional<SplitBehavior> behavior = SplitBehaviorNamed(name);
    if (!behavior.has_value()) return TokenizerUnsupported(part.what, absl::StrCat("behavior '", name, "'"));
    return *behavior;
  }

  static absl::StatusOr<Step> Split(const JsonPart& part, bool) {
    ASSIGN_OR_RETURN(TextPattern pattern, TextPattern::FromJson(MemberOrNull(*part.json, "pattern"), part.what));
    ASSIGN_OR_RETURN(const SplitBehavior behavior, BehaviorOf(part));
    ASSIGN_OR_RETURN(const bool invert, JsonBoolOr(*part.json, "invert", false, part.what));
    return SplitStep(std::move(pattern), {behavior, invert});
  }

  static absl::StatusOr<Step> Digits(const JsonPart& part, bool) {
    ASSIGN_OR_RETURN(const bool individual, JsonBoolOr(*part.json, "individual_digits", false, part.what));
    return RegexStep("\\p{N}", {individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
  }

  static absl::StatusOr<Step> Punctuation(const JsonPart& part, bool) {
    ASSIGN_OR_RETURN(const SplitBehavior behavior, BehaviorOf(part));
    return RegexStep(kPunctuationPattern, {behavior});
  }

  static absl::StatusOr<Step> Whitespace(const JsonPart&, bool) {
    return RegexStep(kWordPattern, {SplitBehavior::kRemoved, /*invert=*/true});
  }

  static absl::StatusOr<Step> WhitespaceSplit(const JsonPart&, bool) {
    return RegexStep("\\s", {SplitBehavior::kRemoved});
  }

  static absl::StatusOr<Step> CharDelimiterSplit(const JsonPart& part, bool) {
    ASSIGN_OR_RETURN(const std::string delimiter, CharacterOr(part, "delimiter", ""));
    const Json pattern = {{"String", delimiter}};
    ASSIGN_OR_RETURN(TextPattern literal, TextPattern::FromJson(pattern, part.what));
    return SplitStep(std::move(literal), {SplitBehavior::kRemoved});
  }

  static void PrefixBlanks(Pieces* pieces) {
    for (TextPiece& piece : pieces->list) {
      if (!absl::StartsWith(piece.text, " ")) piece.text = Keep(absl::StrCat(" ", piece.text), pieces);
    }
  }

  static absl::StatusOr<Step> ByteLevel(const JsonPart& part, bool is_last) {
    ASSIGN_OR_RETURN(const bool add_prefix_space, JsonBoolOr(*part.json, "add_prefix_space", true, part.what));
    ASSIGN_OR_RETURN(const bool use_regex, JsonBoolOr(*part.json, "use_regex", true, part.what));
    Step split = [](Pieces*, RegexScratch*) { return absl::OkStatus(); };
    if (use_regex) {
      ASSIGN_OR_RETURN(split, RegexStep(kGpt2Pattern, {SplitBehavior::kIsolated}));
    }
    return [add_prefix_space, is_last, split](Pieces* pieces, RegexScratch* scratch) -> absl::Status {
      if (add_prefix_space) PrefixBlanks(pieces);
      RETURN_IF_ERROR(split(pieces, scratch));
      if (is_last) return absl::OkStatus();
      for (TextPiece& piece : pieces->list) piece.text = Keep(SpellBytes(piece.text), pieces);
      return absl::OkStatus();
    };
  }

  struct MetaspaceOptions {
    std::string replacement;
    std::string prepend_scheme;  // "always", "first", "never"
    bool split = true;
  };

  // Old files have add_prefix_space in place of prepend_scheme.
  static absl::StatusOr<MetaspaceOptions> ReadMetaspace(const JsonPart& part) {
    MetaspaceOptions options;
    ASSIGN_OR_RETURN(options.replacement, CharacterOr(part, "replacement", "\u2581"));
    ASSIGN_OR_RETURN(const bool prefix, JsonBoolOr(*part.json, "add_prefix_space", true, part.what));
    ASSIGN_OR_RETURN(options.prepend_scheme,
                     JsonStringOr(*part.json, "prepend_scheme", prefix ? "always" : "never", part.what));
    ASSIGN_OR_RETURN(options.split, JsonBoolOr(*part.json, "split", true, part.what));
    const std::string& scheme = options.prepend_scheme;
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      return TokenizerUnsupported(part.what, absl::StrCat("prepend_scheme '", scheme, "'"));
    }
    if (!prefix && scheme != "never") {
      return TokenizerMalformed(part.what, "add_prefix_space false contradicts its prepend_scheme");
    }
    return options;
  }

  static absl::StatusOr<Step> Metaspace(const JsonPart& part, bool) {
    ASSIGN_OR_RETURN(const MetaspaceOptions options, ReadMetaspace(part));
    const Json pattern = {{"String", options.replacement}};
    ASSIGN_OR_RETURN(TextPattern literal, TextPattern::FromJson(pattern, part.what));
    const Step split = SplitStep(std::move(literal), {SplitBehavior::kMergedWithNext});
    return [options, split](Pieces* pieces, RegexScratch* scratch) -> absl::Status {
      for (TextPiece& piece : pieces->list) {
        std::string text = absl::StrReplaceAll(piece.text, {{" ", options.replacement}});
        const bool wanted =
            options.prepend_scheme == "always" || (options.prepend_scheme == "first" && piece.at_text_start);
        if (wanted && !absl::StartsWith(text, options.replacement)) text.insert(0, options.replacement);
        piece.text = Keep(std::move(text), pieces);
      }
      return options.split ? split(pieces, scratch) : absl::OkStatus();
    };
  }
};

namespace {

struct Factory {
  const char* type;
  absl::StatusOr<std::function<absl::Status(Pieces*, RegexScratch*)>> (*make)(const JsonPart& part, bool is_last);
};
constexpr Factory kFactories[] = {{"ByteLevel", &PreTokenizerFactories::ByteLevel},
                                  {"Split", &PreTokenizerFactories::Split},
                                  {"Digits", &PreTokenizerFactories::Digits},
                                  {"Punctuation", &PreTokenizerFactories::Punctuation},
                                  {"Whitespace", &PreTokenizerFactories::Whitespace},
                                  {"WhitespaceSplit", &PreTokenizerFactories::WhitespaceSplit},
                                  {"CharDelimiterSplit", &PreTokenizerFactories::CharDelimiterSplit},
                                  {"Metaspace", &PreTokenizerFactories::Metaspace}};

const Factory* FindFactory(absl::string_view type) {
  for (const Factory& factory : kFactories) {
    if (factory.type == type) return &factory;
  }
  return nullptr;
}

// A second one would spell the spelling of the first, and each spelling may double the text.
absl::Status CheckByteLevelOnce(const std::vector<JsonPart>& parts, absl::string_view file) {
  const auto is_byte_level = [](const JsonPart& part) { return part.type == "ByteLevel"; };
  if (std::count_if(parts.begin(), parts.end(), is_byte_level) <= 1) return absl::OkStatus();
  return TokenizerUnsupported(file, "pre_tokenizer 'ByteLevel' after 'ByteLevel'");
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::FromJson(const Json& document, absl::string_view file) {
  ASSIGN_OR_RETURN(const std::vector<JsonPart> parts, FlattenPart(document, {"pre_tokenizer", "pretokenizers"}, file));
  RETURN_IF_ERROR(CheckByteLevelOnce(parts, file));
  PreTokenizer result;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Factory* factory = FindFactory(parts[i].type);
    if (factory == nullptr) return TokenizerUnsupported(file, absl::StrCat("pre_tokenizer '", parts[i].type, "'"));
    ASSIGN_OR_RETURN(Step step, factory->make(parts[i], i + 1 == parts.size()));
    result.steps_.push_back(std::move(step));
  }
  result.gives_raw_bytes_ = !parts.empty() && parts.back().type == "ByteLevel";
  return result;
}

absl::StatusOr<Pieces> PreTokenizer::Cut(TextPiece text, RegexScratch* scratch) const {
  Pieces pieces;
  pieces.list.push_back(text);
  for (const Step& step : steps_) RETURN_IF_ERROR(step(&pieces, scratch));
  return pieces;
}

}  // namespace quantd
