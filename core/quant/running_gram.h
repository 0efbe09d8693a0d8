// Sums of outer products over a calibration set, in f64 or f32, which can be saved half-way.
#ifndef QUANTD_CORE_QUANT_RUNNING_GRAM_H_
#define QUANTD_CORE_QUANT_RUNNING_GRAM_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "core/compute/execution_context.h"
#include "core/quant/recipe.h"
#include "core/tensor/matrix.h"
#include "core/tensor/state_tensor.h"

namespace quantd {

// [n, n], of which only the upper triangle is kept. Thread-compatible; sums do not depend on the number of threads.
class RunningGram {
 public:
  virtual ~RunningGram() = default;
  // += rows^T rows, rows [any, n].
  virtual void Add(const ExecutionContext& context, const MatrixView& rows) = 0;
  // += the upper triangle of `matrix` [n, n].
  virtual void AddMatrix(const ExecutionContext& context, const MatrixView& matrix) = 0;
  // row <= col.
  virtual double At(int64_t row, int64_t col) const = 0;
  virtual uint64_t bytes() const = 0;
  virtual StateTensor Save(std::string name) const = 0;
  virtual absl::Status Load(const StateTensors& saved, absl::string_view name) = 0;
};

// Of the type that the parameter `sensitivity_accumulation` names.
std::unique_ptr<RunningGram> MakeRunningGram(const Parameters& parameters, int64_t n);

// bytes() of such a one.
uint64_t RunningGramBytes(const Parameters& parameters, int64_t n);

double MeanDiagonal(const RunningGram& gram, int64_t n);

// += factor * gram, both triangles.
void AddTo(const ExecutionContext& context, const RunningGram& gram, double factor, Matrix& hessian);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_RUNNING_GRAM_H_
