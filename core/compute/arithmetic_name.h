// Which arithmetic a machine does: two that give the same name give the same bytes.
#ifndef QUANTD_CORE_COMPUTE_ARITHMETIC_NAME_H_
#define QUANTD_CORE_COMPUTE_ARITHMETIC_NAME_H_

#include <string>

#include "core/compute/execution_context.h"

namespace quantd {

// Device, instruction set of our kernels, and the BLAS with the kernels it has chosen: each orders its sums in its own
// way. Threads are not in it.
std::string ArithmeticName(const ExecutionContext& context);

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_ARITHMETIC_NAME_H_
