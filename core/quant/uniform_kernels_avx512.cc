#include "core/quant/uniform_kernel_loops.h"

namespace quantd {

const UniformKernels& Avx512UniformKernels() {
  static constexpr UniformKernels kTable = TableFor(Isa::kAvx512);
  return kTable;
}

}  // namespace quantd
