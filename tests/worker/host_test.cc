#include "worker/agent/host.h"

#include <string>

#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"
#include "worker/agent/job_files.h"

namespace quantd {
namespace {

TEST(WorkerId, IsAResourceId) {
  for (const char* id : {"a", "w1", "worker-3-b"}) EXPECT_TRUE(IsWorkerId(id)) << id;
  for (const char* id : {"", "1a", "-a", "a-", "A", "a/b", "..", "a.b", "a b"}) EXPECT_FALSE(IsWorkerId(id)) << id;
  EXPECT_TRUE(IsWorkerId(std::string(63, 'a')));
  EXPECT_FALSE(IsWorkerId(std::string(64, 'a')));
  EXPECT_TRUE(IsWorkerId(DefaultWorkerId())) << DefaultWorkerId();
}

TEST(HostCapabilities, NamesDeviceMemoryAndInstructionSet) {
  const v1::WorkerCapabilities capabilities = HostCapabilities(RealFileSystem(), "/tmp");
  EXPECT_THAT(capabilities.devices(), testing::ElementsAre("cpu"));
  EXPECT_GT(capabilities.memory_bytes(), 1 << 20);
  EXPECT_GT(capabilities.scratch_bytes(), 0);
  EXPECT_THAT(capabilities.isa(), testing::AnyOf("scalar", "avx2", "avx512"));
  EXPECT_EQ(capabilities.version(), QUANTD_VERSION);
}

TEST(ScratchFolder, RemovesLeftoversAndKeepsASecondWorkerOut) {
  FileSystem& files = RealFileSystem();
  const std::string root = MakeTempDir();
  const std::string left = JoinPath(root, "w1/job-1/artifact");
  ASSERT_OK(files.CreateDirectories(left));
  ASSERT_OK(files.CreateDirectories(JoinPath(root, "w2/job-1")));
  ASSERT_OK_AND_ASSIGN(const ScratchFolder scratch, ScratchFolder::Open(files, root, "w1"));
  EXPECT_FALSE(files.Exists(JoinPath(root, "w1/job-1")));
  EXPECT_TRUE(files.Exists(JoinPath(root, "w2/job-1"))) << "another worker's";
  EXPECT_THAT(ScratchFolder::Open(files, root, "w1").status(), FailsWith("SCRATCH_IN_USE", "--worker-id"));
  EXPECT_OK(ScratchFolder::Open(files, root, "w2").status());
}

TEST(ScratchName, IsHarmlessAndDifferentForDifferentJobsAndFences) {
  EXPECT_EQ(ScratchName("tenants/a/jobs/j1", 1), ScratchName("tenants/a/jobs/j1", 1));
  EXPECT_NE(ScratchName("tenants/a/jobs/j1", 1), ScratchName("tenants/b/jobs/j1", 1));
  EXPECT_NE(ScratchName("tenants/a/jobs/j1", 1), ScratchName("tenants/a/jobs/j1", 2));
  for (const char* job : {"..", "a/..", "", "x\n\xff", "a/b c"}) {
    EXPECT_THAT(ScratchName(job, 1), testing::MatchesRegex("[A-Za-z0-9-]+")) << job;
  }
}

}  // namespace
}  // namespace quantd
