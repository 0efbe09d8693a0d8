// Where a model's tensors come from: an original checkpoint, or a quantized artifact that decodes on reading.
// Model code sees this interface only. Thread-safe for concurrent reads.
#ifndef QUANTD_CORE_FORMATS_WEIGHT_SOURCE_H_
#define QUANTD_CORE_FORMATS_WEIGHT_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/compute/linear_weight.h"
#include "core/tensor/dtype.h"

namespace quantd {

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // The folder or file, for messages.
  virtual const std::string& path() const = 0;
  // Tensor names, sorted.
  virtual std::vector<std::string> Names() const = 0;
  virtual bool Has(absl::string_view name) const = 0;
  // TENSOR_MISSING when absent.
  virtual absl::StatusOr<std::vector<int64_t>> Shape(absl::string_view name) const = 0;
  // Rows [first_row, first_row + rows) of a matrix ([rows, cols]) or all of a vector (first_row 0, rows = its length,
  // one column), widened to f32. TENSOR_MISSING, TENSOR_WRONG_DTYPE, TENSOR_NOT_FINITE (names the tensor and the first
  // bad index).
  virtual absl::Status ReadRows(absl::string_view name, int64_t first_row, int64_t rows,
                                absl::Span<float> out) const = 0;
  // The element type on disk, and the bytes themselves (C order, any alignment; valid while the source lives): what is
  // copied through unchanged. A quantized tensor has neither: TENSOR_NOT_DENSE.
  virtual absl::StatusOr<Dtype> StoredDtype(absl::string_view name) const = 0;
  virtual absl::StatusOr<absl::Span<const char>> StoredTensorBytes(absl::string_view name) const = 0;
  // The matrix `name` as a running model holds it: a checkpoint's as stored when that is F16 or BF16, an artifact's as
  // bit planes where those can hold it; else, and here, in f32. `arithmetic` is that of products with bit planes.
  // Reasons: those of ReadRows.
  virtual absl::StatusOr<std::unique_ptr<LinearWeight>> LoadLinear(absl::string_view name,
                                                                   PlaneArithmetic arithmetic) const;
  // About the bytes that takes. In floating point: for limits, and never overflowing.
  virtual absl::StatusOr<double> LinearBytes(absl::string_view name) const;
  // Says that the tensor's stored bytes are not needed soon: their pages need not stay in memory.
  virtual void ReleaseStored(absl::string_view name) const { static_cast<void>(name); }
  // Bytes of all tensors as stored.
  virtual uint64_t StoredBytes() const = 0;
};

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_WEIGHT_SOURCE_H_
