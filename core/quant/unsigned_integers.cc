#include "core/quant/unsigned_integers.h"

namespace quantd {

std::string PackUnsigned(Dtype dtype, absl::Span<const int32_t> values) {
  const int width = DtypeBytes(dtype);
  std::string bytes;
  bytes.reserve(values.size() * width);
  for (int32_t value : values) {
    for (int i = 0; i < width; ++i) bytes.push_back(static_cast<char>(static_cast<uint32_t>(value) >> (8 * i) & 0xff));
  }
  return bytes;
}

std::vector<int32_t> UnpackUnsigned(Dtype dtype, absl::string_view bytes) {
  const size_t width = DtypeBytes(dtype);
  std::vector<int32_t> values(bytes.size() / width);
  for (size_t v = 0; v < values.size(); ++v) {
    uint32_t value = 0;
    for (size_t i = 0; i < width; ++i) {
      value |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[v * width + i])) << (8 * i);
    }
    values[v] = static_cast<int32_t>(value);
  }
  return values;
}

}  // namespace quantd
