#include "core/quant/binary_coded_kernel_loops.h"

namespace quantd {

const BinaryCodedKernels& Avx2BinaryCodedKernels() {
  static constexpr BinaryCodedKernels kTable = TableFor(Isa::kAvx2);
  return kTable;
}

}  // namespace quantd
