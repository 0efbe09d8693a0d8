#include "core/quant/two_level_kernel_loops.h"

namespace quantd {

const TwoLevelKernels& Avx2TwoLevelKernels() {
  static constexpr TwoLevelKernels kTable = TableFor(Isa::kAvx2);
  return kTable;
}

}  // namespace quantd
