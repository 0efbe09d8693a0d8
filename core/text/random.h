// Random numbers that are the same on every machine: std distributions are not.
#ifndef QUANTD_CORE_TEXT_RANDOM_H_
#define QUANTD_CORE_TEXT_RANDOM_H_

#include <cstdint>

namespace quantd {

// SplitMix64 (Steele, Lea, Flood 2014): a counter with an odd step, mixed.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  // From 0..bound-1: the upper half of Next() * bound. Off from uniform by at most bound / 2^64.
  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }

 private:
  uint64_t state_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_TEXT_RANDOM_H_
