#include "core/formats/gptq_reader_config.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/status.h"

namespace quantd {
namespace {

absl::Status Invalid(absl::string_view path, absl::string_view why) {
  return InvalidInput("GPTQ_CONFIG_INVALID", absl::StrCat(path, ": ", why));
}

struct Document {
  std::string path;
  Json config;
};

absl::StatusOr<Document> LocateConfig(const std::string& folder) {
  const std::string model_config = JoinPath(folder, "config.json");
  if (RealFileSystem().Exists(model_config)) {
    ASSIGN_OR_RETURN(const Json json, ReadJsonFile(model_config));
    if (json.is_object() && json.contains("quantization_config")) {
      return Document{model_config + " quantization_config", json["quantization_config"]};
    }
  }
  const std::string own = JoinPath(folder, "quantize_config.json");
  if (!RealFileSystem().Exists(own)) {
    return Invalid(folder,
                   "neither config.json has a quantization_config nor is there a quantize_config.json; this is "
                   "not a GPTQ checkpoint");
  }
  ASSIGN_OR_RETURN(Json json, ReadJsonFile(own));
  return Document{own, std::move(json)};
}

// Two loaders know one key by two names: where both stand, they must agree.
absl::StatusOr<std::string> EitherName(const Document& document, const char* first, const char* second,
                                       absl::string_view fallback) {
  ASSIGN_OR_RETURN(const std::string a, JsonStringOr(document.config, first, "", document.path));
  ASSIGN_OR_RETURN(const std::string b, JsonStringOr(document.config, second, "", document.path));
  if (!a.empty() && !b.empty() && a != b) {
    return Invalid(document.path,
                   absl::StrFormat("'%s' is '%s', but '%s' is '%s'", first, a.substr(0, 40), second, b.substr(0, 40)));
  }
  if (!a.empty()) return a;
  if (!b.empty()) return b;
  return std::string(fallback);
}

absl::Status CheckMethod(const Document& document) {
  const auto method = EitherName(document, "quant_method", "method", "gptq");
  if (!method.ok()) return method.status();
  if (*method == "gptq") return absl::OkStatus();
  return Invalid(document.path, absl::StrFormat("method is '%s', not 'gptq'", method->substr(0, 40)));
}

absl::StatusOr<bool> IsVersionOne(const Document& document) {
  const auto format = EitherName(document, "checkpoint_format", "format", "gptq");
  if (!format.ok()) return format.status();
  if (*format == "gptq") return true;
  if (*format == "gptq_v2") return false;
  return Invalid(document.path,
                 absl::StrFormat("format is '%s'; 'gptq' and 'gptq_v2' are read", format->substr(0, 40)));
}

absl::StatusOr<GptqReaderScheme> ReadScheme(const Json& object, const GptqReaderScheme& fallback,
                                            const std::string& what) {
  GptqReaderScheme scheme;
  ASSIGN_OR_RETURN(scheme.bits, JsonIntOr(object, "bits", fallback.bits, what));
  ASSIGN_OR_RETURN(scheme.group_size, JsonIntOr(object, "group_size", fallback.group_size, what));
  ASSIGN_OR_RETURN(scheme.act_order, JsonBoolOr(object, "desc_act", fallback.act_order, what));
  if (scheme.bits != 2 && scheme.bits != 3 && scheme.bits != 4 && scheme.bits != 8) {
    return Invalid(what, absl::StrFormat("bits is %d; 2, 3, 4 and 8 are read", scheme.bits));
  }
  if (scheme.group_size != -1 && scheme.group_size < 1) {
    return Invalid(what, absl::StrFormat("group_size is %d; it is -1 or positive", scheme.group_size));
  }
  return scheme;
}

// "^a\.b$" -> "a.b"; nothing when the expression uses any other syntax.
std::optional<std::string> NameOfPattern(absl::string_view pattern) {
  if (!absl::ConsumePrefix(&pattern, "^") || !absl::ConsumeSuffix(&pattern, "$")) return std::nullopt;
  std::string name;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const bool escaped = pattern[i] == '\\';
    if (escaped && (++i == pattern.size() || absl::ascii_isalnum(pattern[i]))) return std::nullopt;
    if (!escaped && absl::StrContains(R"(.+*?()[]{}|^$)", pattern.substr(i, 1))) return std::nullopt;
    name += pattern[i];
  }
  return name;
}

absl::Status ReadException(const std::string& key, const Json& value, const std::string& path,
                           GptqReaderConfig& config) {
  absl::string_view pattern = key;
  const bool dense = absl::ConsumePrefix(&pattern, "-:");
  if (!dense) absl::ConsumePrefix(&pattern, "+:");
  const std::optional<std::string> name = NameOfPattern(pattern);
  if (!name.has_value()) {
    return Invalid(path, absl::StrFormat("dynamic pattern '%s' may match more than one module; only '^name$' is read",
                                         key.substr(0, 80)));
  }
  GptqReaderScheme scheme{.dense = true};
  if (!dense) {
    ASSIGN_OR_RETURN(scheme,
                     ReadScheme(value, config.common, absl::StrCat(path, " dynamic '", key.substr(0, 80), "'")));
  }
  config.exceptions[*name] = scheme;
  return absl::OkStatus();
}

absl::Status ReadExceptions(const Document& document, GptqReaderConfig& config) {
  const auto dynamic = document.config.find("dynamic");
  if (dynamic == document.config.end() || dynamic->is_null()) return absl::OkStatus();
  if (!dynamic->is_object()) return Invalid(document.path, "'dynamic' is not an object");
  for (const auto& [key, value] : dynamic->items()) {
    RETURN_IF_ERROR(ReadException(key, value, document.path, config));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GptqReaderConfig> ReadGptqConfig(const std::string& folder) {
  ASSIGN_OR_RETURN(const Document document, LocateConfig(folder));
  if (!document.config.is_object()) return Invalid(document.path, "is not an object");
  RETURN_IF_ERROR(CheckMethod(document));
  ASSIGN_OR_RETURN(const bool zeros_minus_one, IsVersionOne(document));
  GptqReaderConfig config;
  config.zeros_minus_one = zeros_minus_one;
  ASSIGN_OR_RETURN(config.common, ReadScheme(document.config, {.group_size = -1}, document.path));
  RETURN_IF_ERROR(ReadExceptions(document, config));
  return config;
}

}  // namespace quantd
