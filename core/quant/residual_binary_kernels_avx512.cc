#include "core/quant/residual_binary_kernel_loops.h"

namespace quantd {

const ResidualBinaryKernels& Avx512ResidualBinaryKernels() {
  static constexpr ResidualBinaryKernels kTable = TableFor(Isa::kAvx512);
  return kTable;
}

}  // namespace quantd
