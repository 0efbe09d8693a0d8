// OpenBLAS, told to stay single-threaded: our own pool is the only source of parallelism.
// Include in .cc files of core/compute only.
#ifndef QUANTD_CORE_COMPUTE_BLAS_H_
#define QUANTD_CORE_COMPUTE_BLAS_H_

#include <cblas.h>

namespace quantd {

// Call once before the first BLAS call of an entry point; cheap afterwards.
inline void UseSingleThreadedBlas() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  (void)done;
}

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_BLAS_H_
