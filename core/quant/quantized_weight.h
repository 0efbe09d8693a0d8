// The result for one site: codes plus whatever decodes them.
#ifndef QUANTD_CORE_QUANT_QUANTIZED_WEIGHT_H_
#define QUANTD_CORE_QUANT_QUANTIZED_WEIGHT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/json.h"
#include "core/compute/binary_planes.h"
#include "core/tensor/dtype.h"
#include "core/tensor/matrix.h"

namespace quantd {

// A tensor of an artifact: "<site>.<suffix>".
struct StoredTensor {
  std::string suffix;  // "codes", "scales", ...
  Dtype dtype = Dtype::kU8;
  std::vector<int64_t> shape;
  std::string bytes;
};

// Immutable; thread-safe. DecodeRows is the single definition of what the codes mean: what the solver assumed, what
// evaluation measures and what exports are compared with, bit for bit.
class QuantizedWeight {
 public:
  virtual ~QuantizedWeight() = default;

  virtual int64_t rows() const = 0;
  virtual int64_t cols() const = 0;
  // f32 values of rows [first_row, first_row + out.rows).
  virtual void DecodeRows(int64_t first_row, MutableMatrixView out) const = 0;

  // Name of the grid, e.g. "uniform": how FromTensors finds its reader again.
  virtual std::string kind() const = 0;
  // What the reader needs beside the tensors (bits, group size, ...), kept in the manifest.
  virtual Json Description() const = 0;
  virtual std::vector<StoredTensor> ToTensors() const = 0;
  // One line for people: "uniform 4 bit g128 asym".
  virtual std::string Summary() const = 0;

  // How products at run time hold the weight; nullopt: only decoded. Its rows are then set by FillPlanes, and decode to
  // the bits of DecodeRows.
  virtual std::optional<PlanesLayout> RunLayout() const { return std::nullopt; }
  virtual void FillPlanes(BinaryPlanesBuilder& builder) const { static_cast<void>(builder); }
  // nullopt where RunLayout is, or names what kernels cannot run.
  std::optional<BinaryPlanes> ToPlanes() const;

  Matrix Decode() const;
  uint64_t StoredBytes() const;  // of ToTensors()
  double BitsPerWeight() const;  // StoredBytes in bits over rows * cols
};

// The inverse of Description() and ToTensors(). Hostile input: every shape and value is checked before use.
// Reasons: ARTIFACT_MALFORMED (names `what`, the tensor and the limit), ARTIFACT_GRID_UNKNOWN.
absl::StatusOr<std::unique_ptr<QuantizedWeight>> QuantizedWeightFromTensors(const std::string& kind,
                                                                            const Json& description,
                                                                            std::vector<StoredTensor> tensors,
                                                                            int64_t rows, int64_t cols,
                                                                            const std::string& what);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_QUANTIZED_WEIGHT_H_
