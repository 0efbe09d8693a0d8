// What a context may be asked for.
#include "core/compute/execution_context.h"

#include <gtest/gtest.h>

#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

struct BadOptions {
  ExecutionOptions options;
  const char* reason;
  const char* mentions;
};

TEST(ExecutionContext, RefusesWhatThisMachineLacks) {
  const BadOptions rows[] = {
      {{.device = "cuda"}, "DEVICE_UNAVAILABLE", "use cpu or auto"},
      {{.device = "tpu"}, "DEVICE_UNKNOWN", "'tpu' is not one of auto, cpu, cuda"},
      {{.device = "CPU"}, "DEVICE_UNKNOWN", "'CPU'"},
      {{.threads = -1}, "THREADS_OUT_OF_RANGE", "-1 threads asked for; give 1..1024"},
      {{.threads = 1025}, "THREADS_OUT_OF_RANGE", "1025"},
      {{.isa_at_most = "sse"}, "ISA_UNKNOWN", "'sse' is not one of scalar, avx2, avx512"},
  };
  for (const BadOptions& row : rows) {
    EXPECT_THAT(ExecutionContext::Create(row.options), FailsWith(row.reason, row.mentions));
  }
}

TEST(ExecutionContext, GivesWhatWasAskedFor) {
  for (const char* device : {"auto", "cpu", ""}) {
    ASSERT_OK_AND_ASSIGN(const auto context, ExecutionContext::Create({.device = device, .threads = 3}));
    EXPECT_EQ(context->device(), Device::kCpu);
    EXPECT_EQ(context->threads(), 3);
    EXPECT_EQ(context->isa(), DetectIsa());
    EXPECT_GT(context->memory_budget_bytes(), 0u);
  }
  ASSERT_OK_AND_ASSIGN(const auto narrow, ExecutionContext::Create({.threads = 1, .isa_at_most = "scalar"}));
  EXPECT_EQ(narrow->isa(), Isa::kScalar);
  ASSERT_OK_AND_ASSIGN(const auto small, ExecutionContext::Create({.threads = 1, .memory_budget_bytes = 4096}));
  EXPECT_EQ(small->memory_budget_bytes(), 4096u);
}

TEST(ExecutionContext, NeverRaisesTheInstructionSet) {
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    ASSERT_OK_AND_ASSIGN(const auto context, ExecutionContext::Create({.threads = 1, .isa_at_most = isa}));
    EXPECT_LE(context->isa(), DetectIsa());
  }
}

}  // namespace
}  // namespace quantd
