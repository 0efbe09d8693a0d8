#include "core/quant/two_level_kernel_loops.h"

namespace quantd {

const TwoLevelKernels& Avx512TwoLevelKernels() {
  static constexpr TwoLevelKernels kTable = TableFor(Isa::kAvx512);
  return kTable;
}

}  // namespace quantd
