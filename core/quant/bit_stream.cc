#include "core/quant/bit_stream.h"

namespace quantd {

void PackBits(const uint8_t* codes, int64_t count, int bits, uint8_t* packed) {
  uint32_t pending = 0;
  int pending_bits = 0;
  for (int64_t i = 0; i < count; ++i) {
    pending |= static_cast<uint32_t>(codes[i]) << pending_bits;
    pending_bits += bits;
    if (pending_bits < 8) continue;
    *packed++ = static_cast<uint8_t>(pending);
    pending >>= 8;
    pending_bits -= 8;
  }
  if (pending_bits > 0) *packed = static_cast<uint8_t>(pending);
}

void UnpackBits(const uint8_t* packed, int64_t count, int bits, uint8_t* codes) {
  const uint32_t mask = (1u << bits) - 1;
  uint32_t pending = 0;
  int pending_bits = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (pending_bits < bits) {
      pending |= static_cast<uint32_t>(*packed++) << pending_bits;
      pending_bits += 8;
    }
    codes[i] = static_cast<uint8_t>(pending & mask);
    pending >>= bits;
    pending_bits -= bits;
  }
}

}  // namespace quantd
