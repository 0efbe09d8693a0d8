// A hash map keyed by strings that is searched with views.
#ifndef QUANTD_CORE_TEXT_STRING_MAP_H_
#define QUANTD_CORE_TEXT_STRING_MAP_H_

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace quantd {

struct TransparentStringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

template <typename T>
using StringMap = std::unordered_map<std::string, T, TransparentStringHash, std::equal_to<>>;

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_STRING_MAP_H_
