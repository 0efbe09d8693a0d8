#include "core/compute/vector_kernel_loops.h"

namespace quantd {

const VectorKernels& Avx512VectorKernels() {
  static constexpr VectorKernels kTable = TableFor(Isa::kAvx512);
  return kTable;
}

}  // namespace quantd
