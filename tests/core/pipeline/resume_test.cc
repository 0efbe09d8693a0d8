// A job that is killed, again and again, ends with the bytes of one that was not, and redoes little.
#include <atomic>
#include <functional>
#include <random>
#include <vector>

#include "core/base/file_system.h"
#include "core/pipeline/checkpoint_folder.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/core/pipeline/small_job.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

struct JobCase {
  const char* name;
  const char* model;
  int blocks;
  const char* preset;
  bool true_sequential;
  bool evaluation;
  bool exported;
  const char* hessian_model = "";  // of gradients; empty: the preset's own sensitivity
};

constexpr JobCase kJobs[] = {
    {"Rtn", "quantd-tiny-llama", 3, "rtn", false, true, true},
    {"RtnUnmeasured", "quantd-tiny-llama", 2, "rtn", false, false, false},
    {"Gptq", "quantd-tiny-llama", 3, "gptq", false, true, true},
    {"GptqInOrder", "quantd-tiny-llama", 2, "gptq", true, true, false},
    {"GptqUnmeasured", "quantd-tiny-llama", 2, "gptq", true, false, false},
    {"GptqOneBlock", "quantd-tiny-llama", 1, "gptq", true, true, false},
    {"Opt", "quantd-tiny-opt", 2, "gptq", false, true, true},
    {"Spqr", "quantd-tiny-llama", 2, "spqr", true, false, false},
    {"Billm", "quantd-tiny-llama", 2, "billm", true, false, false},
    {"GradientsAtBoundaries", "quantd-tiny-llama", 2, "gptq", true, false, false, "boundary"},
    {"GradientsOfTheOriginal", "quantd-tiny-llama", 2, "gptq", false, false, false, "full"},
    {"GradientsBehindThePrefix", "quantd-tiny-llama", 2, "gptq", false, false, false, "prefix"},
};

JobSpec SpecOf(const JobCase& job) {
  JobSpec spec = SmallJob(ModelOfBlocks(job.model, job.blocks), job.preset);
  Json overrides = Json::object();
  if (job.preset != std::string("billm")) overrides["bits"] = 3;
  if (job.preset != std::string("rtn")) overrides["true_sequential"] = job.true_sequential;
  spec.overrides = SharedJson(overrides);
  if (*job.hessian_model != '\0') {
    overrides["sensitivity"] = "output_adaptive";
    overrides["hessian_model"] = job.hessian_model;
    overrides["labels"] = "sampled";
    spec.overrides = SharedJson(overrides);
  }
  if (!job.evaluation) spec.evaluation_file.clear();
  if (job.exported) spec.exports = {"gptq"};
  return spec;
}

// Enough for the largest layer of quantd-tiny-llama beside its block.
constexpr uint64_t kTightBytes = 24'000'000;

SmallRun RunIn(const std::string& folder, JobSpec spec) {
  return {.spec = std::move(spec), .out = JoinPath(folder, "out"), .checkpoint = JoinPath(folder, "checkpoint")};
}

std::map<std::string, std::string> Uninterrupted(const JobSpec& spec) {
  const std::string out = JoinPath(MakeTempDir(), "out");
  const auto report = RunSmallJob({.spec = spec, .out = out});
  EXPECT_OK(report);
  return Digests(out);
}

class ResumeTest : public testing::TestWithParam<JobCase> {};

// A kill after every few commits, at every kind of place, until one run reaches the end; threads alternate.
TEST_P(ResumeTest, ChainOfKillsGivesTheSameBytes) {
  const JobSpec spec = SpecOf(GetParam());
  const std::string folder = MakeTempDir();
  SmallRun run = RunIn(folder, spec);
  run.interval = absl::ZeroDuration();
  int kills = 0, left = 0;
  run.on_commit = [&](const CheckpointNotice&) {
    if (--left == 0) Die();
  };
  constexpr int kCommits[] = {1, 4, 13, 23};
  do {
    left = kCommits[kills % 4];
    run.threads = 1 + kills % 2;
    // So small that one block's statistics are gathered in several rounds, and gradients lie in files.
    if (*GetParam().hessian_model != '\0') run.memory_budget_bytes = kills % 3 == 0 ? 0 : kTightBytes;
    ASSERT_LT(++kills, 200) << "no progress";
  } while (RunUntilDeath(run));
  EXPECT_GE(kills, 3);
  EXPECT_FALSE(RealFileSystem().Exists(run.checkpoint)) << "kept after success";
  EXPECT_EQ(Digests(run.out), Uninterrupted(spec));
}

// What the next run would go on from: it is cancelled as soon as it says so.
double ResumedFraction(SmallRun run) {
  std::atomic<bool> cancelled{false};
  double fraction = 0;
  run.cancelled = &cancelled;
  run.on_resume = [&](const CheckpointNotice& notice) {
    fraction = notice.fraction;
    cancelled = true;
  };
  EXPECT_THAT(RunSmallJob(run), FailsWith("CANCELLED", ""));
  return fraction;
}

// Without any commit for time's sake, wherever it is killed: the next run begins within 15 % of the work.
TEST_P(ResumeTest, KilledAnywhereRedoesLittle) {
  const JobSpec spec = SpecOf(GetParam());
  for (const double killed_at : {0.33, 0.9, 0.97}) {
    SmallRun run = RunIn(MakeTempDir(), spec);
    run.progress = [&](const ProgressState& state) {
      if (state.fraction >= killed_at) Die();
    };
    ASSERT_TRUE(RunUntilDeath(run));
    run.progress = nullptr;
    const double redone = killed_at - ResumedFraction(run);
    EXPECT_LE(redone, 0.15) << killed_at;
    RecordProperty(absl::StrCat("redone_when_killed_at_", killed_at), absl::StrCat(redone));
    if (killed_at != 0.9) continue;
    // Counted by the next run's own work, not by what the checkpoint says of itself.
    ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(run));
    EXPECT_LE(report.work.this_run / report.work.total, 0.1 + 0.15);
  }
}

// The gradient before the first block, or at a finished one's output.
bool IsGradientOfFinishedBlock(const CheckpointFile& file, const CheckpointNotice& notice) {
  int boundary = 0;
  return notice.block > 0 && std::sscanf(file.path.c_str(), "gradients-%d-", &boundary) == 1 &&
         boundary <= notice.block;
}

// What is told of each commit is what lies in the folder, and no file of older ones stays.
TEST_P(ResumeTest, CommitsAreWhatTheySay) {
  SmallRun run = RunIn(MakeTempDir(), SpecOf(GetParam()));
  run.interval = absl::Milliseconds(1);
  int commits = 0, blocks = 0;
  double last = 0;
  run.on_commit = [&](const CheckpointNotice& notice) {
    EXPECT_EQ(notice.generation, ++commits);
    EXPECT_GE(notice.fraction, last);
    last = notice.fraction;
    blocks = std::max(blocks, notice.block);
    std::vector<std::string> names, named;
    for (const CheckpointFile& file : notice.files) {
      named.push_back(file.path);
      EXPECT_EQ(*RealFileSystem().FileSize(JoinPath(run.checkpoint, file.path)), file.size_bytes) << file.path;
    }
    EXPECT_EQ(named[0], "checkpoint.json");
    // Behind the prefix, names begin with the block instead.
    for (const CheckpointFile& file : notice.files) {
      EXPECT_FALSE(GetParam().hessian_model != std::string("prefix") && IsGradientOfFinishedBlock(file, notice))
          << file.path;
    }
    EXPECT_THAT(*RealFileSystem().ListDirectory(run.checkpoint), testing::UnorderedElementsAreArray(named));
  };
  ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(run));
  EXPECT_EQ(blocks, GetParam().blocks);
  EXPECT_GE(commits, GetParam().blocks);
  EXPECT_EQ(report.checkpoint->commits, commits);
  EXPECT_EQ(report.checkpoint->failures, 0);
}

INSTANTIATE_TEST_SUITE_P(Jobs, ResumeTest, testing::ValuesIn(kJobs),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Resume, CancelledJobCommitsAndGoesOn) {
  const JobSpec spec = SpecOf(kJobs[3]);
  const auto expected = Uninterrupted(spec);
  std::mt19937 random(20);
  for (int round = 0; round < 3; ++round) {
    const std::string folder = MakeTempDir();
    const double at = std::uniform_real_distribution<double>(0.02, 0.98)(random);
    std::atomic<bool> cancelled{false};
    double stopped = 0, resumed = 0;
    SmallRun run = RunIn(folder, spec);
    run.cancelled = &cancelled;
    run.progress = [&](const ProgressState& state) {
      stopped = state.fraction;
      if (state.fraction >= at) cancelled = true;
    };
    EXPECT_THAT(RunSmallJob(run), FailsWith("CANCELLED", "cancelled"));
    EXPECT_FALSE(RealFileSystem().Exists(run.out + ".partial"));
    run.cancelled = nullptr;
    run.progress = nullptr;
    run.on_resume = [&](const CheckpointNotice& notice) { resumed = notice.fraction; };
    ASSERT_OK(RunSmallJob(run));
    EXPECT_DOUBLE_EQ(resumed, stopped) << "a small state is committed when the job is told to stop";
    EXPECT_EQ(Digests(run.out), expected);
  }
}

TEST(Resume, ProgressBeginsWhereItStopped) {
  SmallRun run = RunIn(MakeTempDir(), SpecOf(kJobs[2]));
  run.interval = absl::ZeroDuration();
  run.on_commit = [&](const CheckpointNotice& notice) {
    if (notice.fraction > 0.5) Die();
  };
  ASSERT_TRUE(RunUntilDeath(run));
  std::vector<ProgressState> states;
  run.on_commit = nullptr;
  run.progress = [&](const ProgressState& state) { states.push_back(state); };
  ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(run));
  double last = 0;
  for (const ProgressState& state : states) {
    EXPECT_TRUE(state.phase == "plan" || state.fraction > 0.5) << state.phase << " " << state.fraction;
    EXPECT_GE(state.fraction, last);
    last = state.fraction;
  }
  EXPECT_NEAR(last, 1, 1e-9);
  EXPECT_GE(report.checkpoint->resumed_from_block, 1);
  EXPECT_GT(report.checkpoint->resumed_from_fraction, 0.5);
  EXPECT_LT(report.work.this_run, 0.5 * report.work.total);
}

}  // namespace
}  // namespace quantd
