#include "core/quant/uniform_kernels.h"

#include "core/quant/column_slabs.h"
#include "core/quant/uniform_kernel_loops.h"

namespace quantd {

static_assert(kLanes == kSlabRows);

const UniformKernels& ScalarUniformKernels() {
  static constexpr UniformKernels kTable = TableFor(Isa::kScalar);
  return kTable;
}

const UniformKernels& UniformKernelsFor(Isa at_most) {
  switch (at_most) {
    case Isa::kAvx512:
      return Avx512UniformKernels();
    case Isa::kAvx2:
      return Avx2UniformKernels();
    case Isa::kScalar:
      break;
  }
  return ScalarUniformKernels();
}

}  // namespace quantd
