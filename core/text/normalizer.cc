#include "core/text/normalizer.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/text/json_part.h"
#include "core/text/text_check.h"
#include "core/text/text_pattern.h"
#include "core/text/unicode_classes.h"
#include "core/text/unicode_normalization.h"

namespace quantd {

struct NormalizerFactories {
  using Step = Normalizer::Step;

  static absl::StatusOr<Step> Prepend(const JsonPart& part) {
    ASSIGN_OR_RETURN(const std::string prefix, InsertedText(part, "prepend"));
    return [prefix](std::string text, RegexScratch*) { return text.empty() ? text : absl::StrCat(prefix, text); };
  }

  static absl::StatusOr<Step> Replace(const JsonPart& part) {
    ASSIGN_OR_RETURN(TextPattern pattern, TextPattern::FromJson(MemberOrNull(*part.json, "pattern"), part.what));
    ASSIGN_OR_RETURN(const std::string content, InsertedText(part, "content"));
    const auto shared = std::make_shared<const TextPattern>(std::move(pattern));
    return [shared, content](const std::string& text, RegexScratch* scratch) {
      return shared->ReplaceAll(text, content, scratch);
    };
  }

  static absl::StatusOr<Step> Strip(const JsonPart& part) {
    ASSIGN_OR_RETURN(const bool left, JsonBoolOr(*part.json, "strip_left", true, part.what));
    ASSIGN_OR_RETURN(const bool right, JsonBoolOr(*part.json, "strip_right", true, part.what));
    return [left, right](std::string text, RegexScratch*) {
      if (left) text.erase(0, LeadingWhiteSpace(text));
      if (right) text.resize(text.size() - TrailingWhiteSpace(text));
      return text;
    };
  }

  static absl::StatusOr<Step> Nfc(const JsonPart&) {
    return [](const std::string& text, RegexScratch*) { return ToNfc(text); };
  }

  static absl::StatusOr<Step> Nfd(const JsonPart&) {
    return [](const std::string& text, RegexScratch*) { return ToNfd(text); };
  }
};

namespace {

struct Factory {
  const char* type;
  absl::StatusOr<std::function<absl::StatusOr<std::string>(std::string, RegexScratch*)>> (*make)(const JsonPart& part);
};
constexpr Factory kFactories[] = {{"Prepend", &NormalizerFactories::Prepend},
                                  {"Replace", &NormalizerFactories::Replace},
                                  {"Strip", &NormalizerFactories::Strip},
                                  {"NFC", &NormalizerFactories::Nfc},
                                  {"NFD", &NormalizerFactories::Nfd}};

// Canonical decomposition makes at most 3 times as many bytes (Unicode Standard Annex 15).
constexpr size_t kMaxGrowth = 64;

const Factory* FindFactory(absl::string_view type) {
  for (const Factory& factory : kFactories) {
    if (factory.type == type) return &factory;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<Normalizer> Normalizer::FromJson(const Json& document, absl::string_view file) {
  ASSIGN_OR_RETURN(const std::vector<JsonPart> parts, FlattenPart(document, {"normalizer", "normalizers"}, file));
  Normalizer normalizer;
  for (const JsonPart& part : parts) {
    const Factory* factory = FindFactory(part.type);
    if (factory == nullptr) return TokenizerUnsupported(file, absl::StrCat("normalizer '", part.type, "'"));
    ASSIGN_OR_RETURN(Step step, factory->make(part));
    normalizer.steps_.push_back(std::move(step));
  }
  return normalizer;
}

absl::StatusOr<std::string> Normalizer::Normalize(absl::string_view text, RegexScratch* scratch) const {
  std::string result(text);
  for (const Step& step : steps_) {
    ASSIGN_OR_RETURN(result, step(std::move(result), scratch));
    if (result.size() <= std::min(kMaxGrowth * (text.size() + kMaxInsertedBytes), kMaxTextBytes)) continue;
    return InvalidInput("TEXT_TOO_LARGE", absl::StrFormat("the tokenizer's normalizer makes %d bytes of a text of %d",
                                                          result.size(), text.size()));
  }
  return result;
}

}  // namespace quantd
