// A checkpoint is used whole or not at all, and only by the job it belongs to.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <vector>

#include "absl/strings/match.h"
#include "core/base/fail_point.h"
#include "core/base/file_system.h"
#include "core/pipeline/checkpoint_folder.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/core/pipeline/small_job.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::HasSubstr;

JobSpec GptqJob() {
  JobSpec spec = SmallJob(ModelOfBlocks("quantd-tiny-llama", 2), "gptq");
  spec.overrides = SharedJson(Json{{"bits", 3}, {"true_sequential", true}});
  return spec;
}

// Leaves a checkpoint of the first commit that `wanted` likes.
void StopAt(SmallRun run, const std::function<bool(const CheckpointNotice&)>& wanted) {
  run.interval = absl::ZeroDuration();
  run.on_commit = [&](const CheckpointNotice& notice) {
    if (wanted(notice)) Die();
  };
  ASSERT_TRUE(RunUntilDeath(run));
}

bool HasFile(const CheckpointNotice& notice, absl::string_view prefix) {
  for (const CheckpointFile& file : notice.files) {
    if (absl::StartsWith(file.path, prefix)) return true;
  }
  return false;
}

std::string ReadAll(const std::string& path) {
  return *RealFileSystem().ReadFile(path, 1 << 30);
}

void Overwrite(const std::string& path, const std::string& bytes) {
  // A new file: the old one may be linked to elsewhere.
  std::remove(path.c_str());
  std::ofstream(path, std::ios::binary) << bytes;
}

struct Damage {
  const char* name;
  std::string (*change)(std::string bytes);  // null: remove the file
};

const Damage kDamages[] = {
    {"last byte", [](std::string bytes) { return bytes.back() ^= 1, bytes; }},
    {"byte in the middle", [](std::string bytes) { return bytes[bytes.size() / 2] ^= 0x10, bytes; }},
    {"cut off", [](std::string bytes) { return bytes.substr(0, bytes.size() / 2); }},
    {"emptied", [](std::string) { return std::string(); }},
    {"removed", nullptr},
};

// What a run says of the checkpoint; then it is cancelled, unless it has nothing to say.
std::string Refusal(const JobSpec& spec, const std::string& checkpoint) {
  std::string problem;
  std::atomic<bool> cancelled{false};
  SmallRun run{.spec = spec, .out = JoinPath(MakeTempDir(), "out"), .checkpoint = checkpoint};
  run.cancelled = &cancelled;
  run.on_problem = [&](const absl::Status& status) {
    problem = ReasonOf(status) + " " + std::string(status.message());
    cancelled = true;
  };
  const auto report = RunSmallJob(run);
  EXPECT_TRUE(cancelled ? ReasonOf(report.status()) == "CANCELLED" : report.ok()) << report.status();
  return problem;
}

TEST(RefusedCheckpoint, AnyDamagedFile) {
  const JobSpec spec = GptqJob();
  const std::string folder = MakeTempDir();
  const std::string kept = JoinPath(folder, "kept");
  // A checkpoint with one file of each kind of quantization.
  StopAt({.spec = spec, .out = JoinPath(folder, "out"), .checkpoint = kept}, [](const CheckpointNotice& notice) {
    return HasFile(notice, "shard") && HasFile(notice, "boundary") && HasFile(notice, "statistics") &&
           HasFile(notice, "layer");
  });
  const std::vector<std::string> names = *RealFileSystem().ListDirectory(kept);
  ASSERT_GE(names.size(), 5u);
  size_t next = 0;
  for (const std::string& damaged : names) {
    // Every file, each damage in turn: all pairs would take a minute.
    const Damage& damage = kDamages[next++ % std::size(kDamages)];
    SCOPED_TRACE(absl::StrCat(damaged, ": ", damage.name));
    if (damaged == "checkpoint.json" && damage.change == nullptr) continue;
    const std::string copy = MakeTempDir();
    for (const std::string& name : names) {
      const std::string bytes = ReadAll(JoinPath(kept, name));
      const bool spoiled = name == damaged;
      if (spoiled && damage.change == nullptr) continue;
      Overwrite(JoinPath(copy, name), spoiled ? damage.change(bytes) : bytes);
    }
    EXPECT_THAT(Refusal(spec, copy), HasSubstr("CHECKPOINT_REFUSED"));
    EXPECT_THAT(*RealFileSystem().ListDirectory(copy), testing::IsEmpty());
  }
}

// Refused, then done anew: the artifact is that of a run without a checkpoint.
TEST(RefusedCheckpoint, TheJobBeginsAnew) {
  const JobSpec spec = GptqJob();
  const std::string clean = JoinPath(MakeTempDir(), "out");
  ASSERT_OK(RunSmallJob({.spec = spec, .out = clean}));
  const std::string folder = MakeTempDir();
  SmallRun run{.spec = spec, .out = JoinPath(folder, "out"), .checkpoint = JoinPath(folder, "checkpoint")};
  StopAt(run, [](const CheckpointNotice& notice) { return notice.block == 1 && HasFile(notice, "layer"); });
  const std::string shard = JoinPath(run.checkpoint, "shard-00000.safetensors");
  Overwrite(shard, ReadAll(shard) + " ");
  ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(run));
  EXPECT_THAT(report.checkpoint->refused, HasSubstr("shard-00000"));
  EXPECT_EQ(report.checkpoint->resumed_from_block, -1);
  EXPECT_NEAR(report.work.this_run / report.work.total, 1, 1e-9);
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_EQ(Digests(run.out), Digests(clean));
}

TEST(RefusedCheckpoint, DamagedDocumentInEveryWay) {
  const JobSpec spec = GptqJob();
  const std::string folder = MakeTempDir();
  const std::string kept = JoinPath(folder, "kept");
  StopAt({.spec = spec, .out = JoinPath(folder, "out"), .checkpoint = kept},
         [](const CheckpointNotice& notice) { return notice.block == 1; });
  CheckpointFolder checkpoint(RealFileSystem(), kept);
  const std::string path = JoinPath(kept, "checkpoint.json");
  const std::string good = ReadAll(path);
  for (const Damage& damage : kDamages) {
    if (damage.change == nullptr) continue;
    Overwrite(path, damage.change(good));
    EXPECT_THAT(checkpoint.Read(), FailsWith("CHECKPOINT_MALFORMED", "checkpoint.json")) << damage.name;
  }
  // Forged with a right digest: numbers that no place of this job has.
  ASSERT_OK_AND_ASSIGN(const CheckpointDocument honest, ParseCheckpoint(good, "test"));
  const char* const kPlaces[] = {"{}",
                                 R"({"block":1,"pass":99,"sequences":0,"advancing":0})",
                                 R"({"block":-1,"pass":0,"sequences":0,"advancing":0})",
                                 R"({"block":1,"pass":0,"sequences":11,"advancing":0})",
                                 R"({"block":1,"pass":0,"sequences":3,"advancing":1})",
                                 R"({"block":1,"pass":1,"sequences":0,"advancing":0})",
                                 R"({"block":1,"pass":0,"sequences":5,"advancing":0})"};
  for (const char* place : kPlaces) {
    SCOPED_TRACE(place);
    CheckpointDocument forged = honest;
    forged.place_json = place;
    const std::string copy = MakeTempDir();
    const std::vector<std::string> names = *RealFileSystem().ListDirectory(kept);
    for (const std::string& name : names) Overwrite(JoinPath(copy, name), ReadAll(JoinPath(kept, name)));
    Overwrite(JoinPath(copy, "checkpoint.json"), CheckpointText(forged));
    EXPECT_THAT(Refusal(spec, copy), HasSubstr("CHECKPOINT_REFUSED"));
  }
}

TEST(RefusedCheckpoint, OtherInputsAreNamed) {
  const JobSpec spec = GptqJob();
  struct Change {
    const char* named;
    std::function<void(JobSpec&)> apply;
  };
  const Change kChanges[] = {
      {"recipe",
       [](JobSpec& job) {
         job.overrides = SharedJson(Json{{"bits", 4}, {"true_sequential", true}});
       }},
      {"layers",
       [](JobSpec& job) {
         job.rules.push_back({"*.down_proj", Json{{"bits", 8}}});
       }},
      {"calibration", [](JobSpec& job) { job.seed = 1; }},
      {"evaluation", [](JobSpec& job) { job.evaluation_windows = 9; }},
      {"job", [](JobSpec& job) { job.exports = {"gptq"}; }},
      {"model", [](JobSpec& job) { job.model = ModelOfBlocks("quantd-tiny-llama", 3); }},
  };
  for (const Change& change : kChanges) {
    SCOPED_TRACE(change.named);
    const std::string folder = MakeTempDir();
    const std::string checkpoint = JoinPath(folder, "checkpoint");
    StopAt({.spec = spec, .out = JoinPath(folder, "out"), .checkpoint = checkpoint},
           [](const CheckpointNotice&) { return true; });
    JobSpec other = spec;
    change.apply(other);
    EXPECT_THAT(Refusal(other, checkpoint), testing::AllOf(HasSubstr("CHECKPOINT_REFUSED"), HasSubstr(change.named)));
  }
}

TEST(RefusedCheckpoint, LabelsAndThreadsDoNotMatter) {
  const JobSpec spec = GptqJob();
  const std::string folder = MakeTempDir();
  const std::string checkpoint = JoinPath(folder, "checkpoint");
  StopAt({.spec = spec, .out = JoinPath(folder, "out"), .checkpoint = checkpoint, .threads = 2},
         [](const CheckpointNotice& notice) { return notice.block == 1; });
  JobSpec labelled = spec;
  labelled.labels["team"] = "blue";
  EXPECT_EQ(Refusal(labelled, checkpoint), "");
}

TEST(RefusedCheckpoint, FolderOfSomebodyElseIsNotTouched) {
  const std::string folder = MakeTempDir();
  Overwrite(JoinPath(folder, "model-00001-of-00002.safetensors"), "precious");
  EXPECT_THAT(RunSmallJob({.spec = GptqJob(), .out = JoinPath(MakeTempDir(), "out"), .checkpoint = folder}),
              FailsWith("CHECKPOINT_FOLDER_FOREIGN", "model-00001-of-00002.safetensors"));
  EXPECT_EQ(ReadAll(JoinPath(folder, "model-00001-of-00002.safetensors")), "precious");
}

// A step that fails, before or after it was done, costs a checkpoint and nothing else.
TEST(RefusedCheckpoint, FailedCommitsDoNotEndTheJob) {
  const JobSpec spec = SmallJob(ModelOfBlocks("quantd-tiny-llama", 2), "gptq");
  const std::string clean = JoinPath(MakeTempDir(), "out");
  ASSERT_OK(RunSmallJob({.spec = spec, .out = clean}));
  for (const std::string step : {"checkpoint.write", "checkpoint.fsync", "checkpoint.rename", "checkpoint.dirsync"}) {
    for (const std::string side : {"before", "after"}) {
      SCOPED_TRACE(absl::StrCat(step, ".", side));
      const std::string folder = MakeTempDir();
      SmallRun run{.spec = spec, .out = JoinPath(folder, "out"), .checkpoint = JoinPath(folder, "checkpoint")};
      ASSERT_OK(SetFailPoints(absl::StrCat(step, ".", side, "=error@3")));
      ASSERT_OK_AND_ASSIGN(const Report report, RunSmallJob(run));
      ASSERT_OK(SetFailPoints(""));
      EXPECT_EQ(report.checkpoint->failures, 1);
      EXPECT_GE(report.checkpoint->commits, 2);
      EXPECT_EQ(Digests(run.out), Digests(clean));
    }
  }
}

// The process ends at each step of a commit: the checkpoint before or the new one is found, never neither.
TEST(RefusedCheckpoint, DeathAtEveryStepOfACommit) {
  const JobSpec spec = SmallJob(ModelOfBlocks("quantd-tiny-llama", 2), "gptq");
  const std::string clean = JoinPath(MakeTempDir(), "out");
  ASSERT_OK(RunSmallJob({.spec = spec, .out = clean}));
  for (const std::string step : {"checkpoint.write", "checkpoint.fsync", "checkpoint.rename", "checkpoint.dirsync"}) {
    for (const std::string side : {"before", "after"}) {
      SCOPED_TRACE(absl::StrCat(step, ".", side));
      const std::string folder = MakeTempDir();
      SmallRun run{.spec = spec, .out = JoinPath(folder, "out"), .checkpoint = JoinPath(folder, "checkpoint")};
      int commits = 0;
      run.on_commit = [&](const CheckpointNotice&) {
        // From the second commit on, the first time the point is passed.
        if (++commits == 2) Die();
      };
      ASSERT_TRUE(RunUntilDeath(run));
      run.on_commit = nullptr;
      run.progress = [&, armed = false](const ProgressState& state) mutable {
        if (armed || state.phase != "quantize") return;
        armed = true;
        ASSERT_OK(SetFailPoints(absl::StrCat(step, ".", side, "=exit")));
      };
      const pid_t child = fork();
      if (child == 0) {
        (void)RunSmallJob(run);
        _exit(0);
      }
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the point was never passed";
      run.progress = nullptr;
      std::string problem;
      double resumed = 0;
      std::atomic<bool> cancelled{false};
      const bool to_the_end = step == "checkpoint.rename";  // the others stop once they have said where they begin
      run.cancelled = &cancelled;
      run.on_problem = [&](const absl::Status& said) { problem = said.ToString(); };
      run.on_resume = [&](const CheckpointNotice& notice) {
        resumed = notice.fraction;
        cancelled = !to_the_end;
      };
      EXPECT_EQ(RunSmallJob(run).ok(), to_the_end);
      EXPECT_EQ(problem, "");
      EXPECT_GT(resumed, 0);
      if (!to_the_end) continue;
      EXPECT_EQ(Digests(run.out), Digests(clean));
    }
  }
}

}  // namespace
}  // namespace quantd
