#include "core/tensor/matrix.h"

#include <cstring>

namespace quantd {

Matrix::Matrix(int64_t rows, int64_t cols)
    : rows_(rows), cols_(cols), data_(AllocateZeroedArray<float>(static_cast<size_t>(rows * cols))) {}

Matrix Matrix::CopyOf(const MatrixView& view) {
  Matrix copy(view.rows, view.cols);
  for (int64_t r = 0; r < view.rows; ++r) {
    std::memcpy(copy.row(r), view.row(r), static_cast<size_t>(view.cols) * sizeof(float));
  }
  return copy;
}

}  // namespace quantd
