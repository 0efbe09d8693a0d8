#include "core/quant/uniform_kernel_loops.h"

namespace quantd {

const UniformKernels& Avx2UniformKernels() {
  static constexpr UniformKernels kTable = TableFor(Isa::kAvx2);
  return kTable;
}

}  // namespace quantd
