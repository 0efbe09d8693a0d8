#include "core/compute/execution_context.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/container_limits.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int kMaxThreads = 1024;

constexpr std::pair<absl::string_view, Isa> kIsaNames[] = {
    {"scalar", Isa::kScalar}, {"avx2", Isa::kAvx2}, {"avx512", Isa::kAvx512}};

absl::StatusOr<Isa> ChooseIsa(absl::string_view at_most) {
  const Isa best = DetectIsa();
  if (at_most.empty()) return best;
  for (const auto& [name, isa] : kIsaNames) {
    if (name == at_most) return std::min(isa, best);
  }
  return InvalidInput("ISA_UNKNOWN",
                      absl::StrFormat("instruction set '%s' is not one of scalar, avx2, avx512", at_most));
}

absl::StatusOr<Device> ChooseDevice(absl::string_view name) {
  if (name == "cpu" || name == "auto" || name.empty()) return Device::kCpu;
  if (name == "cuda") {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "DEVICE_UNAVAILABLE",
                       "device 'cuda' is not available: this build has no CUDA kernels; use cpu or auto");
  }
  return InvalidInput("DEVICE_UNKNOWN", absl::StrFormat("device '%s' is not one of auto, cpu, cuda", name));
}

}  // namespace

absl::string_view DeviceName(Device device) {
  return device == Device::kCpu ? "cpu" : "cuda";
}

absl::string_view IsaName(Isa isa) {
  return kIsaNames[static_cast<int>(isa)].first;
}

Isa DetectIsa() {
  // The builtin asks CPUID and XGETBV: what the CPU has and what the operating system saves.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (!avx2) return Isa::kScalar;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  return avx512 ? Isa::kAvx512 : Isa::kAvx2;
}

absl::StatusOr<std::unique_ptr<ExecutionContext>> ExecutionContext::Create(const ExecutionOptions& options) {
  auto context = std::unique_ptr<ExecutionContext>(new ExecutionContext);
  ASSIGN_OR_RETURN(context->device_, ChooseDevice(options.device));
  ASSIGN_OR_RETURN(context->isa_, ChooseIsa(options.isa_at_most));
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return InvalidInput("THREADS_OUT_OF_RANGE", absl::StrFormat("%d threads asked for; give 1..%d, or 0 for all cores",
                                                                options.threads, kMaxThreads));
  }
  context->memory_budget_bytes_ =
      options.memory_budget_bytes != 0 ? options.memory_budget_bytes : UsableMemoryBytes() / 2;
  context->pool_ = std::make_unique<ThreadPool>(options.threads == 0 ? AvailableCores() : options.threads);
  return context;
}

}  // namespace quantd
