#include "core/quant/two_level_kernels.h"

#include "core/quant/column_slabs.h"
#include "core/quant/two_level_kernel_loops.h"

namespace quantd {

static_assert(kLanes == kSlabRows);

const TwoLevelKernels& ScalarTwoLevelKernels() {
  static constexpr TwoLevelKernels kTable = TableFor(Isa::kScalar);
  return kTable;
}

const TwoLevelKernels& TwoLevelKernelsFor(Isa at_most) {
  switch (at_most) {
    case Isa::kAvx512:
      return Avx512TwoLevelKernels();
    case Isa::kAvx2:
      return Avx2TwoLevelKernels();
    case Isa::kScalar:
      break;
  }
  return ScalarTwoLevelKernels();
}

}  // namespace quantd
