// Files of /proc and of control groups: their size is 0 or a lie, so they are read until they end.
#ifndef QUANTD_CORE_BASE_KERNEL_FILE_H_
#define QUANTD_CORE_BASE_KERNEL_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace quantd {

// At most the first 64 KiB. Errors as ErrnoError says.
absl::StatusOr<std::string> ReadKernelFile(const std::string& path);

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_KERNEL_FILE_H_
