#include "core/base/container_limits.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <map>

#include "core/base/file_system.h"

namespace quantd {
namespace {

constexpr uint64_t kNoMemoryLimit = std::numeric_limits<uint64_t>::max();
constexpr double kNoQuota = std::numeric_limits<double>::infinity();

struct Row {
  const char* name;
  std::map<std::string, std::string> files;  // "cgroup" stands for /proc/self/cgroup
  uint64_t memory_bytes;
  double cpus;
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name;
}

class ContainerLimitsTest : public testing::TestWithParam<Row> {};

TEST_P(ContainerLimitsTest, LowestLimitOfTheChain) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("container-limits-" + std::string(GetParam().name));
  std::filesystem::remove_all(folder);
  for (const auto& [path, text] : GetParam().files) {
    std::filesystem::create_directories((folder / path).parent_path());
    const auto file = RealFileSystem().OpenForWrite((folder / path).string());
    ASSERT_TRUE(file.ok() && (*file)->Append(text).ok() && (*file)->Close().ok()) << path;
  }
  const ContainerLimits limits = ReadContainerLimits((folder / "cgroup").string(), (folder / "fs").string());
  EXPECT_EQ(limits.memory_bytes, GetParam().memory_bytes);
  EXPECT_EQ(limits.cpus, GetParam().cpus);
  std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, ContainerLimitsTest,
    testing::Values(
        Row{"NoFileAtAll", {}, kNoMemoryLimit, kNoQuota},
        Row{"Version2",
            {{"cgroup", "0::/\n"}, {"fs/memory.max", "1073741824\n"}, {"fs/cpu.max", "150000 100000\n"}},
            1u << 30,
            1.5},
        Row{"Version2Unlimited",
            {{"cgroup", "0::/\n"}, {"fs/memory.max", "max\n"}, {"fs/cpu.max", "max 100000\n"}},
            kNoMemoryLimit,
            kNoQuota},
        Row{"Version2AncestorBinds",
            {{"cgroup", "0::/pods/one\n"}, {"fs/pods/memory.max", "4096\n"}, {"fs/pods/one/memory.max", "8192\n"}},
            4096,
            kNoQuota},
        Row{"Version2PathOfTheHost",
            {{"cgroup", "0::/kubepods/unseen\n"}, {"fs/memory.max", "4096\n"}},
            4096,
            kNoQuota},
        Row{"Version1",
            {{"cgroup", "4:memory:/job\n3:cpu,cpuacct:/job\n"},
             {"fs/memory/job/memory.limit_in_bytes", "65536\n"},
             {"fs/memory/memory.limit_in_bytes", "9223372036854771712\n"},
             {"fs/cpu/job/cpu.cfs_quota_us", "50000\n"},
             {"fs/cpu/job/cpu.cfs_period_us", "100000\n"}},
            65536,
            0.5},
        Row{"Version1NoQuota",
            {{"cgroup", "3:cpu:/\n"}, {"fs/cpu/cpu.cfs_quota_us", "-1\n"}, {"fs/cpu/cpu.cfs_period_us", "100000\n"}},
            kNoMemoryLimit,
            kNoQuota},
        Row{"Garbage",
            {{"cgroup", "nonsense\n0:\n::relative\n0::/\n"}, {"fs/memory.max", "-5\n"}, {"fs/cpu.max", "0 0\n"}},
            kNoMemoryLimit,
            kNoQuota}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(ContainerLimits, UsableMemoryIsNotMoreThanTheLimit) {
  EXPECT_GT(UsableMemoryBytes(), 0u);
  EXPECT_LE(UsableMemoryBytes(), ReadContainerLimits().memory_bytes);
}

}  // namespace
}  // namespace quantd
