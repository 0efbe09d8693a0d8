// Codes of 1 to 8 bits as a dense little-endian bit stream: code i occupies bits i*b .. i*b+b-1, bit k is bit k%8 of
// byte k/8.
#ifndef QUANTD_CORE_QUANT_BIT_STREAM_H_
#define QUANTD_CORE_QUANT_BIT_STREAM_H_

#include <cstdint>

#include "core/base/checked.h"

namespace quantd {

constexpr int64_t PackedBytes(int64_t count, int bits) {
  return CeilDiv(count * bits, 8);
}

// Writes PackedBytes(count, bits) bytes; unused bits of the last one are zero. Codes are below 2^bits.
void PackBits(const uint8_t* codes, int64_t count, int bits, uint8_t* packed);
void UnpackBits(const uint8_t* packed, int64_t count, int bits, uint8_t* codes);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BIT_STREAM_H_
