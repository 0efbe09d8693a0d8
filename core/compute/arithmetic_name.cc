#include "core/compute/arithmetic_name.h"

#include "absl/strings/str_cat.h"
#include "core/compute/blas.h"

namespace quantd {

std::string ArithmeticName(const ExecutionContext& context) {
  return absl::StrCat(DeviceName(context.device()), " ", IsaName(context.isa()), " ", openblas_get_config(), " ",
                      openblas_get_corename());
}

}  // namespace quantd
