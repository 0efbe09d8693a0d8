#include "core/quant/binary_coded_kernels.h"

#include "core/quant/binary_coded_kernel_loops.h"
#include "core/quant/column_slabs.h"

namespace quantd {

static_assert(kLanes == kSlabRows);

const BinaryCodedKernels& ScalarBinaryCodedKernels() {
  static constexpr BinaryCodedKernels kTable = TableFor(Isa::kScalar);
  return kTable;
}

const BinaryCodedKernels& BinaryCodedKernelsFor(Isa at_most) {
  switch (at_most) {
    case Isa::kAvx512:
      return Avx512BinaryCodedKernels();
    case Isa::kAvx2:
      return Avx2BinaryCodedKernels();
    case Isa::kScalar:
      break;
  }
  return ScalarBinaryCodedKernels();
}

}  // namespace quantd
