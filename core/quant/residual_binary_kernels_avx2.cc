#include "core/quant/residual_binary_kernel_loops.h"

namespace quantd {

const ResidualBinaryKernels& Avx2ResidualBinaryKernels() {
  static constexpr ResidualBinaryKernels kTable = TableFor(Isa::kAvx2);
  return kTable;
}

}  // namespace quantd
