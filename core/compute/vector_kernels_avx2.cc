#include "core/compute/vector_kernel_loops.h"

namespace quantd {

const VectorKernels& Avx2VectorKernels() {
  static constexpr VectorKernels kTable = TableFor(Isa::kAvx2);
  return kTable;
}

}  // namespace quantd
