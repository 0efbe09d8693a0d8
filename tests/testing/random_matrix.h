// Matrices for tests, the same on every run and machine.
#ifndef QUANTD_TESTS_TESTING_RANDOM_MATRIX_H_
#define QUANTD_TESTS_TESTING_RANDOM_MATRIX_H_

#include <cstdint>

#include "core/tensor/matrix.h"

namespace quantd {

// A fixed sequence of numbers, uniform in [-1, 1), multiples of 2^-23.
class RandomSequence {
 public:
  explicit RandomSequence(uint64_t seed) : state_(seed * 2 + 1) {}
  float Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(static_cast<int64_t>(state_) >> 40) * 0x1p-23f;
  }

 private:
  uint64_t state_;
};

inline Matrix RandomMatrix(int64_t rows, int64_t cols, uint64_t seed, float magnitude = 1) {
  Matrix matrix(rows, cols);
  RandomSequence sequence(seed);
  for (int i = 0; i < 16; ++i) sequence.Next();  // small seeds begin alike
  for (float& value : matrix.span()) value = magnitude * sequence.Next();
  return matrix;
}

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_RANDOM_MATRIX_H_
