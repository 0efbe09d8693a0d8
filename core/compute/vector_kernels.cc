#include "core/compute/vector_kernels.h"

#include "core/compute/vector_kernel_loops.h"

namespace quantd {

const VectorKernels& ScalarVectorKernels() {
  static constexpr VectorKernels kTable = TableFor(Isa::kScalar);
  return kTable;
}

const VectorKernels& VectorKernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return Avx512VectorKernels();
    case Isa::kAvx2:
      return Avx2VectorKernels();
    case Isa::kScalar:
      break;
  }
  return ScalarVectorKernels();
}

}  // namespace quantd
