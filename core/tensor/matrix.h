// Dense f32 matrices, row-major, and views of them. Storage is 64-byte aligned and zeroed.
#ifndef QUANTD_CORE_TENSOR_MATRIX_H_
#define QUANTD_CORE_TENSOR_MATRIX_H_

#include <cstdint>

#include "absl/types/span.h"
#include "core/base/zeroed_buffer.h"

namespace quantd {

// Rows `stride` elements apart, stride >= cols.
struct MatrixView {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  const float* row(int64_t r) const { return data + r * stride; }
  absl::Span<const float> row_span(int64_t r) const { return {row(r), static_cast<size_t>(cols)}; }
  float at(int64_t r, int64_t c) const { return data[r * stride + c]; }
  MatrixView Rows(int64_t begin, int64_t count) const { return {row(begin), count, cols, stride}; }
  MatrixView Cols(int64_t begin, int64_t count) const { return {data + begin, rows, count, stride}; }
};

struct MutableMatrixView {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  float* row(int64_t r) const { return data + r * stride; }
  absl::Span<float> row_span(int64_t r) const { return {row(r), static_cast<size_t>(cols)}; }
  float& at(int64_t r, int64_t c) const { return data[r * stride + c]; }
  MutableMatrixView Rows(int64_t begin, int64_t count) const { return {row(begin), count, cols, stride}; }
  MutableMatrixView Cols(int64_t begin, int64_t count) const { return {data + begin, rows, count, stride}; }
  operator MatrixView() const { return {data, rows, cols, stride}; }  // NOLINT(google-explicit-constructor)
};

class Matrix {
 public:
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols);  // zeroed
  static Matrix CopyOf(const MatrixView& view);
  Matrix(Matrix&&) noexcept = default;
  Matrix& operator=(Matrix&&) noexcept = default;

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t size() const { return rows_ * cols_; }
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  float* row(int64_t r) { return data_.get() + r * cols_; }
  const float* row(int64_t r) const { return data_.get() + r * cols_; }
  float& at(int64_t r, int64_t c) { return data_.get()[r * cols_ + c]; }
  float at(int64_t r, int64_t c) const { return data_.get()[r * cols_ + c]; }
  absl::Span<float> span() { return {data_.get(), static_cast<size_t>(size())}; }
  absl::Span<const float> span() const { return {data_.get(), static_cast<size_t>(size())}; }
  MutableMatrixView view() { return {data_.get(), rows_, cols_, cols_}; }
  MatrixView view() const { return {data_.get(), rows_, cols_, cols_}; }

 private:
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  ZeroedBuffer<float> data_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_TENSOR_MATRIX_H_
