// Where and how compute runs. Passed by const reference to every compute entry, so that another device comes in without
// changing a caller.
#ifndef QUANTD_CORE_COMPUTE_EXECUTION_CONTEXT_H_
#define QUANTD_CORE_COMPUTE_EXECUTION_CONTEXT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/thread_pool.h"

namespace quantd {

enum class Device { kCpu, kCuda };
enum class Isa { kScalar, kAvx2, kAvx512 };  // ordered: a higher one includes the lower

absl::string_view DeviceName(Device device);
absl::string_view IsaName(Isa isa);

struct ExecutionOptions {
  std::string device = "auto";       // "cpu", "cuda" or "auto"
  int threads = 0;                   // 0: all cores this process may use
  std::string isa_at_most = "";      // "scalar", "avx2", "avx512"; can only lower what the CPU and OS support
  uint64_t memory_budget_bytes = 0;  // 0: half of what the machine, or the container, allows
};

class ExecutionContext {
 public:
  // DEVICE_UNAVAILABLE (FAILED_PRECONDITION) when the device is not there or not built in; ISA_UNKNOWN, DEVICE_UNKNOWN,
  // THREADS_OUT_OF_RANGE (1..1024) otherwise.
  static absl::StatusOr<std::unique_ptr<ExecutionContext>> Create(const ExecutionOptions& options);

  Device device() const { return device_; }
  Isa isa() const { return isa_; }
  ThreadPool& pool() const { return *pool_; }
  int threads() const { return pool_->thread_count(); }
  uint64_t memory_budget_bytes() const { return memory_budget_bytes_; }

 private:
  ExecutionContext() = default;
  Device device_ = Device::kCpu;
  Isa isa_ = Isa::kScalar;
  uint64_t memory_budget_bytes_ = 0;
  std::unique_ptr<ThreadPool> pool_;
};

// The best table that CPU and operating system support.
Isa DetectIsa();

}  // namespace quantd

#endif  // QUANTD_CORE_COMPUTE_EXECUTION_CONTEXT_H_
