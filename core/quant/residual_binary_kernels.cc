#include "core/quant/residual_binary_kernels.h"

#include "core/quant/column_slabs.h"
#include "core/quant/residual_binary_kernel_loops.h"

namespace quantd {

static_assert(kLanes == kSlabRows);

const ResidualBinaryKernels& ScalarResidualBinaryKernels() {
  static constexpr ResidualBinaryKernels kTable = TableFor(Isa::kScalar);
  return kTable;
}

const ResidualBinaryKernels& ResidualBinaryKernelsFor(Isa at_most) {
  switch (at_most) {
    case Isa::kAvx512:
      return Avx512ResidualBinaryKernels();
    case Isa::kAvx2:
      return Avx2ResidualBinaryKernels();
    case Isa::kScalar:
      break;
  }
  return ScalarResidualBinaryKernels();
}

}  // namespace quantd
