#include "core/base/json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/base/excerpt.h"
#include "core/base/file_system.h"

namespace quantd {
namespace {

constexpr int kMaxDepth = 64;

// Watches the parse events for what the library lets pass: duplicate keys and deep nesting.
class StrictWatcher {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) {
      if (problem_.empty()) problem_ = absl::StrFormat("nested deeper than %d levels", kMaxDepth);
      too_deep_ = true;
      return false;
    }
    switch (event) {
      case Json::parse_event_t::object_start:
        keys_.emplace_back();
        break;
      case Json::parse_event_t::object_end:
        if (!keys_.empty()) keys_.pop_back();
        break;
      case Json::parse_event_t::key: {
        const std::string& key = parsed.get_ref<const std::string&>();
        if (!keys_.empty() && !keys_.back().insert(key).second && problem_.empty()) {
          problem_ = absl::StrFormat("key '%s' appears twice in one object", Excerpt(key));
        }
        break;
      }
      default:
        break;
    }
    return true;
  }
  const std::string& problem() const { return problem_; }
  bool too_deep() const { return too_deep_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
  bool too_deep_ = false;
};

// Depth is checked on the text first: the parser itself must not be driven into deep structures.
bool DeeperThan(absl::string_view text, int limit) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > limit) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

absl::Status FieldType(absl::string_view key, absl::string_view what, absl::string_view expected, const Json& value) {
  return InvalidInput("JSON_FIELD_TYPE", absl::StrFormat("%s: field '%s' must be %s, not %s", what, key, expected,
                                                         Excerpt(value.dump(), 80)));
}

// nullptr when the key is absent or null.
const Json* Find(const Json& object, absl::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(std::string(key));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

absl::Status Missing(absl::string_view key, absl::string_view what) {
  return InvalidInput("JSON_FIELD_MISSING", absl::StrFormat("%s: field '%s' is missing", what, key));
}

absl::StatusOr<int64_t> AsInt(const Json& value, absl::string_view key, absl::string_view what) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return FieldType(key, what, "an integer below 2^63", value);
  }
  if (!value.is_number_integer()) return FieldType(key, what, "an integer", value);
  return value.get<int64_t>();
}

}  // namespace

absl::StatusOr<Json> ParseJson(absl::string_view text, absl::string_view what, uint64_t max_bytes) {
  if (text.size() > max_bytes) {
    return InvalidInput("JSON_TOO_LARGE",
                        absl::StrFormat("%s: %d bytes of JSON, the limit is %d", what, text.size(), max_bytes));
  }
  // The library takes a NUL byte for the end of the text and would not see what follows.
  if (absl::StrContains(text, '\0')) {
    return InvalidInput("JSON_MALFORMED",
                        absl::StrFormat("%s: not valid JSON: a NUL byte at offset %d", what, text.find('\0')));
  }
  if (DeeperThan(text, kMaxDepth)) {
    return InvalidInput("JSON_TOO_DEEP", absl::StrFormat("%s: JSON nested deeper than %d levels", what, kMaxDepth));
  }
  StrictWatcher watcher;
  Json value;
  try {
    value = Json::parse(text.begin(), text.end(), std::ref(watcher), /*allow_exceptions=*/true);
  } catch (const Json::exception& error) {
    return InvalidInput("JSON_MALFORMED", absl::StrFormat("%s: not valid JSON: %s", what, Excerpt(error.what(), 200)));
  }
  if (watcher.too_deep()) return InvalidInput("JSON_TOO_DEEP", absl::StrFormat("%s: %s", what, watcher.problem()));
  if (!watcher.problem().empty()) {
    return InvalidInput("JSON_DUPLICATE_KEY", absl::StrFormat("%s: %s", what, watcher.problem()));
  }
  return value;
}

absl::StatusOr<Json> ReadJsonFile(const std::string& path, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const std::string text, RealFileSystem().ReadFile(path, max_bytes));
  return ParseJson(text, path, max_bytes);
}

absl::StatusOr<int64_t> JsonInt(const Json& object, absl::string_view key, absl::string_view what) {
  const Json* value = Find(object, key);
  if (value == nullptr) return Missing(key, what);
  return AsInt(*value, key, what);
}

absl::StatusOr<int64_t> JsonIntOr(const Json& object, absl::string_view key, int64_t fallback, absl::string_view what) {
  const Json* value = Find(object, key);
  if (value == nullptr) return fallback;
  return AsInt(*value, key, what);
}

absl::StatusOr<double> JsonDoubleOr(const Json& object, absl::string_view key, double fallback,
                                    absl::string_view what) {
  const Json* value = Find(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_number()) return FieldType(key, what, "a number", *value);
  return value->get<double>();
}

absl::StatusOr<bool> JsonBoolOr(const Json& object, absl::string_view key, bool fallback, absl::string_view what) {
  const Json* value = Find(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return FieldType(key, what, "true or false", *value);
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonString(const Json& object, absl::string_view key, absl::string_view what) {
  const Json* value = Find(object, key);
  if (value == nullptr) return Missing(key, what);
  if (!value->is_string()) return FieldType(key, what, "a string", *value);
  return value->get<std::string>();
}

absl::StatusOr<std::string> JsonStringOr(const Json& object, absl::string_view key, absl::string_view fallback,
                                         absl::string_view what) {
  if (Find(object, key) == nullptr) return std::string(fallback);
  return JsonString(object, key, what);
}

std::string JsonText(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace quantd
