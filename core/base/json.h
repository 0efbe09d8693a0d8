// Strict JSON for files and sockets.
//
// Accepts one value in valid UTF-8 and nothing after it; refuses duplicate keys, NaN and Infinity, nesting deeper than
// 64 and documents over the caller's size limit. Integers outside 64 bits become floats in the library, so the typed
// getters below refuse a float where an integer is due.
//
// Include <nlohmann/json.hpp> only in .cc files: it is heavy.
#ifndef QUANTD_CORE_BASE_JSON_H_
#define QUANTD_CORE_BASE_JSON_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/status.h"

namespace quantd {

using Json = nlohmann::json;

inline constexpr uint64_t kMaxJsonBytes = 16u << 20;  // formats.md: files without a limit of their own

// `what` names the document in messages ("/models/x/config.json"). Reasons: JSON_TOO_LARGE, JSON_MALFORMED,
// JSON_TOO_DEEP, JSON_DUPLICATE_KEY.
absl::StatusOr<Json> ParseJson(absl::string_view text, absl::string_view what, uint64_t max_bytes = kMaxJsonBytes);

// Reads and parses a file.
absl::StatusOr<Json> ReadJsonFile(const std::string& path, uint64_t max_bytes = kMaxJsonBytes);

// Typed members of an object; `what` names the document. Reasons: JSON_FIELD_MISSING, JSON_FIELD_TYPE.
// The *Or forms give `fallback` when the key is absent or null.
absl::StatusOr<int64_t> JsonInt(const Json& object, absl::string_view key, absl::string_view what);
absl::StatusOr<int64_t> JsonIntOr(const Json& object, absl::string_view key, int64_t fallback, absl::string_view what);
absl::StatusOr<double> JsonDoubleOr(const Json& object, absl::string_view key, double fallback, absl::string_view what);
absl::StatusOr<bool> JsonBoolOr(const Json& object, absl::string_view key, bool fallback, absl::string_view what);
absl::StatusOr<std::string> JsonString(const Json& object, absl::string_view key, absl::string_view what);
absl::StatusOr<std::string> JsonStringOr(const Json& object, absl::string_view key, absl::string_view fallback,
                                         absl::string_view what);

// Pretty, with sorted keys and shortest round-trip numbers: the bytes depend on the value alone.
std::string JsonText(const Json& value);

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_JSON_H_
