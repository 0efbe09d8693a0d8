#include "core/tensor/matrix.h"

#include <cstring>
#include <new>

namespace quantd {

Matrix::Matrix(int64_t rows, int64_t cols) : rows_(rows), cols_(cols) {
  const size_t bytes = (static_cast<size_t>(rows * cols) * sizeof(float) + 63) / 64 * 64;
  if (bytes == 0) return;
  float* data = static_cast<float*>(std::aligned_alloc(64, bytes));
  if (data == nullptr) throw std::bad_alloc();  // caught where a job begins and reported as RESOURCE_EXHAUSTED
  std::memset(data, 0, bytes);
  data_.reset(data);
}

Matrix Matrix::CopyOf(const MatrixView& view) {
  Matrix copy(view.rows, view.cols);
  for (int64_t r = 0; r < view.rows; ++r) {
    std::memcpy(copy.row(r), view.row(r), static_cast<size_t>(view.cols) * sizeof(float));
  }
  return copy;
}

}  // namespace quantd
