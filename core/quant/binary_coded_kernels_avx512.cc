#include "core/quant/binary_coded_kernel_loops.h"

namespace quantd {

const BinaryCodedKernels& Avx512BinaryCodedKernels() {
  static constexpr BinaryCodedKernels kTable = TableFor(Isa::kAvx512);
  return kTable;
}

}  // namespace quantd
