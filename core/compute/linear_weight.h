// The matrix of a linear layer as a running model holds it: as small as it is stored where products can read that.
#ifndef QUANTD_CORE_COMPUTE_LINEAR_WEIGHT_H_
#define QUANTD_CORE_COMPUTE_LINEAR_WEIGHT_H_

#include <cstdint>
#include <memory>

#include "core/base/zeroed_buffer.h"
#include "core/compute/binary_planes.h"
#include "core/compute/execution_context.h"
#include "core/compute/planes_product.h"
#include "core/tensor/dtype.h"
#include "core/tensor/matrix.h"

namespace quantd {

// Immutable; thread-safe.
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;
  virtual int64_t rows() const = 0;
  virtual int64_t cols() const = 0;
  virtual uint64_t resident_bytes() const = 0;

  // out[m, rows] = a[m, cols] * weight^T      (+ out when accumulate). Results do not depend on the number of threads.
  virtual void Multiply(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out,
                        bool accumulate) const = 0;
};

// f32. The bits of MatMulTransposed.
class DenseLinear : public LinearWeight {
 public:
  explicit DenseLinear(Matrix weight) : weight_(std::move(weight)) {}
  int64_t rows() const override { return weight_.rows(); }
  int64_t cols() const override { return weight_.cols(); }
  uint64_t resident_bytes() const override { return static_cast<uint64_t>(weight_.size()) * sizeof(float); }
  void Multiply(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out,
                bool accumulate) const override;

 private:
  Matrix weight_;
};

// F16 or BF16, widened on the way into registers; half the memory to read. The bits of MatMulTransposed with the widened
// weight.
class HalfLinear : public LinearWeight {
 public:
  HalfLinear(Dtype dtype, int64_t rows, int64_t cols);  // zeros
  // Rows [first_row, first_row + values.rows), whose values are exact in the dtype.
  void SetRows(int64_t first_row, const MatrixView& values);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  uint64_t resident_bytes() const override { return static_cast<uint64_t>(rows_ * cols_) * sizeof(uint16_t); }
  void Multiply(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out,
                bool accumulate) const override;

 private:
  const uint16_t* row(int64_t r) const { return data_.get() + r * cols_; }
  void MultiplyFew(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out, bool accumulate) const;
  void MultiplyMany(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out, bool accumulate) const;

  Dtype dtype_;
  int64_t rows_, cols_;
  ZeroedBuffer<uint16_t> data_;
};

// Bit planes: MultiplyPlanes.
class PlanesLinear : public LinearWeight {
 public:
  PlanesLinear(BinaryPlanes planes, PlaneArithmetic arithmetic) : planes_(std::move(planes)), arithmetic_(arithmetic) {}
  int64_t rows() const override { return planes_.rows(); }
  int64_t cols() const override { return planes_.cols(); }
  uint64_t resident_bytes() const override { return planes_.resident_bytes(); }
  void Multiply(const ExecutionContext& context, const MatrixView& a, MutableMatrixView out,
                bool accumulate) const override;

 private:
  BinaryPlanes planes_;
  PlaneArithmetic arithmetic_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_LINEAR_WEIGHT_H_
