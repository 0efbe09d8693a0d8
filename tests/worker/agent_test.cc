#include "worker/agent/agent.h"

#include <signal.h>

#include <chrono>
#include <cstdio>
#include <new>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "tests/testing/status_matchers.h"
#include "tests/worker/worker_fixture.h"

namespace quantd {
namespace {

constexpr char kJob[] = "tenants/default/jobs/j1";

bool Any(const v1::JobProgress&) {
  return true;
}

TEST_F(WorkerTest, UploadsEveryFileThenReportsSuccess) {
  server_.Assign(MakeAssignment(kJob, 7));
  StartWorker(kSuccess);
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED) << result.DebugString();
  EXPECT_EQ(result.fence(), 7);

  const auto files = server_.files(kJob, 7);
  ASSERT_EQ(files.size(), 6u);
  EXPECT_EQ(files.at("exports/gptq/model.safetensors"), "gptq weights\n");
  EXPECT_EQ(files.at("model-00001.safetensors"), std::string(3'000'000, '\0'));
  EXPECT_EQ(files.at("empty.txt"), "");
  EXPECT_EQ(server_.upload_order().back(), "manifest.json") << "whoever sees the manifest must see all it lists";

  EXPECT_EQ(result.artifact().digest(), Sha256Hex("{\"schema\":1}\n"));
  EXPECT_EQ(result.artifact().files_size(), 6);
  EXPECT_EQ(result.report().preset(), "gptq");
  EXPECT_EQ(result.report().size().original_bytes(), 1000);
  EXPECT_EQ(result.report().layers(0).rows(), 4);
  EXPECT_EQ(result.report().speed().kernel(), "dequantized") << "performance.json is merged in";
  EXPECT_EQ(result.report().phase_seconds().at("quantize"), 1.5);
  StopWorker();
  EXPECT_TRUE(ScratchNames().empty());
}

// How a child ends, and what its job is told.
struct Ending {
  const char* name;
  const char* body;
  const char* reason;
  const char* mentions;
  int exit_code;
  int signal;
  const char* phase;
  v1::FinishedJob::Outcome outcome;
};
constexpr auto kCrashed = v1::FinishedJob::OUTCOME_CRASHED;  // may be tried again
constexpr auto kFailed = v1::FinishedJob::OUTCOME_FAILED;
constexpr Ending kEndings[] = {
    {"ErrorLine",
     "say plan 0\n"
     "echo '{\"error\":{\"reason\":\"MODEL_FILE_MALFORMED\",\"message\":\"w.safetensors: cut off\",\"code\":3}}' "
     ">&3\nexit 3",
     "MODEL_FILE_MALFORMED", "w.safetensors: cut off", 3, 0, "plan", kFailed},
    {"ErrorLineWithoutNewline", "printf '{\"error\":{\"reason\":\"DISK_FULL\",\"message\":\"no space\"}}' >&3\nexit 4",
     "DISK_FULL", "no space", 4, 0, "", kFailed},
    {"Segmentation", "say quantize 0.4\nkill -SEGV $$", "CHILD_CRASHED", "SIGSEGV (11) in phase quantize", 0, SIGSEGV,
     "quantize", kCrashed},
    {"KilledFromOutside", "say calibrate 0.2\nkill -KILL $$", "CHILD_KILLED", "out-of-memory", 0, SIGKILL, "calibrate",
     kCrashed},
    {"TerminatedFromOutside", "say quantize 0.3\nkill -TERM $$", "CHILD_KILLED", "SIGTERM (15) in phase quantize", 0,
     SIGTERM, "quantize", kCrashed},
    // As `quant` ends when it is asked to: the worker did not ask.
    {"ToldToStopFromOutside",
     "stop() { echo '{\"error\":{\"reason\":\"CANCELLED\",\"message\":\"the job was cancelled\"}}' >&3; exit 130; }\n"
     "trap stop TERM\nsay quantize 0.3\nkill -TERM $$\nsleep 1000",
     "CHILD_KILLED", "SIGTERM (or SIGINT) in phase quantize, layer layers.0.up, from outside", 130, 0, "quantize",
     kCrashed},
    {"SilentExit", "exit 5", "CHILD_CRASHED", "code 5 before its first phase", 5, 0, "", kCrashed},
    {"NoArtifact", "say pack 0.9\nmkdir -p $OUT\necho '{}' > $OUT/report.json", "ARTIFACT_MALFORMED",
     "no manifest.json", 0, 0, "publish", kFailed},
    {"NoReport", "mkdir -p $OUT\necho '{}' > $OUT/manifest.json", "FILE_NOT_FOUND", "report.json", 0, 0, "publish",
     kFailed},
    {"BadReport", "mkdir -p $OUT\necho '{}' > $OUT/manifest.json\necho '{\"layers\":3}' > $OUT/report.json",
     "REPORT_MALFORMED", "report.json", 0, 0, "publish", kFailed},
    {"LinkInArtifact",
     "mkdir -p $OUT\necho '{}' > $OUT/manifest.json\necho '{}' > $OUT/report.json\nln -s /etc/passwd $OUT/x",
     "ARTIFACT_MALFORMED", "neither a regular file", 0, 0, "publish", kFailed},
};

class EndingTest : public WorkerTest, public testing::WithParamInterface<Ending> {};

TEST_P(EndingTest, EndsItsAttemptAndLeavesTheWorkerFitForTheNext) {
  const Ending& ending = GetParam();
  server_.Assign(MakeAssignment(kJob, 1));
  // The second job succeeds: its script finds the note of the first.
  StartWorker(absl::StrCat("echo 'last words' >&2\nif [ ! -e $NOTES/first ]; then\n: > $NOTES/first\n", ending.body,
                           "\nexit 0\nfi\n", kSuccess));
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.outcome(), ending.outcome);
  EXPECT_EQ(result.error().reason(), ending.reason);
  EXPECT_THAT(result.error().message(), testing::HasSubstr(ending.mentions));
  EXPECT_EQ(result.error().exit_code(), ending.exit_code);
  EXPECT_EQ(result.error().signal(), ending.signal);
  EXPECT_EQ(result.error().phase(), ending.phase);
  const bool by_child = result.error().phase() != "publish";
  EXPECT_EQ(result.error().log_tail(), by_child ? "last words\n" : "");

  server_.Assign(MakeAssignment("tenants/default/jobs/j2", 1));
  EXPECT_EQ(server_.WaitForResult("tenants/default/jobs/j2").outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED);
}
INSTANTIATE_TEST_SUITE_P(All, EndingTest, testing::ValuesIn(kEndings),
                         [](const auto& ending) { return std::string(ending.param.name); });

TEST_F(WorkerTest, SaysThatTheProgramIsMissing) {
  server_.Assign(MakeAssignment(kJob, 1));
  options_.runner.quant_path = "unused";
  StartWorker("exit 0");
  server_.WaitForResult(kJob);
  ASSERT_EQ(remove(options_.runner.quant_path.c_str()), 0);
  server_.Assign(MakeAssignment("j2", 1));
  const v1::FinishedJob result = server_.WaitForResult("j2");
  EXPECT_EQ(result.outcome(), kCrashed);
  EXPECT_EQ(result.error().reason(), "CHILD_NOT_STARTED");
  EXPECT_THAT(result.error().message(), testing::HasSubstr(options_.runner.quant_path));
}

class ExhaustedSpawner : public Spawner {
 public:
  absl::StatusOr<std::unique_ptr<ChildProcess>> Spawn(const SpawnOptions&) override { throw std::bad_alloc(); }
};

TEST_F(WorkerTest, RunningOutOfMemoryItselfIsAReasonToTryElsewhere) {
  ExhaustedSpawner spawner;
  spawner_ = &spawner;
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker(kSuccess);
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.outcome(), kCrashed);
  EXPECT_EQ(result.error().reason(), "MEMORY_EXHAUSTED");
  EXPECT_THAT(result.error().message(), testing::HasSubstr("--slots"));
  StopWorker();
  EXPECT_TRUE(ScratchNames().empty());
}

TEST_F(WorkerTest, CancelEndsTheChildAndItsGroupInTheGrace) {
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker("sleep 1000 &\necho $! > $NOTES/grandchild\necho $$ > $NOTES/child\nsay quantize 0.1\nwait");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  server_.Cancel(kJob, 3);
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_CANCELLED);
  EXPECT_FALSE(IsAlive(ReadNote("child")));
  ASSERT_NE(ReadNote("grandchild"), "");
  EXPECT_TRUE(server_.WaitFor([&] { return !IsAlive(ReadNote("grandchild")); }));
  EXPECT_TRUE(ScratchNames().empty());
}

TEST_F(WorkerTest, CancelDoesNotWaitForTheDigestsOfAHugeArtifact) {
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker(absl::StrCat(kSuccess, "truncate -s 64G \"$OUT/huge.safetensors\""));  // a minute of hashing, no space
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "publish"; });
  server_.Cancel(kJob, 3);
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_CANCELLED);
}

TEST_F(WorkerTest, CancelKillsAChildThatIgnoresSigterm) {
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker("trap '' TERM\necho $$ > $NOTES/child\nsay quantize 0.1\nwhile :; do sleep 0.01; done");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  server_.Cancel(kJob, 3);
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_CANCELLED);
  EXPECT_FALSE(IsAlive(ReadNote("child")));
}

TEST_F(WorkerTest, CancelOfAJobItNeverStartedIsConfirmed) {
  StartWorker(kSuccess);
  server_.Cancel("never-seen", 4);
  EXPECT_EQ(server_.WaitForResult("never-seen").outcome(), v1::FinishedJob::OUTCOME_CANCELLED);
}

TEST_F(WorkerTest, AStaleLeaseEndsTheChildWithoutAReport) {
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker("trap '' TERM\necho $$ > $NOTES/child\nsay quantize 0.1\nwhile :; do sleep 0.01; done");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  server_.DeclareStale(kJob, 3);
  EXPECT_TRUE(server_.WaitFor([&] { return !IsAlive(ReadNote("child")); }));
  server_.Assign(MakeAssignment("j2", 1));
  server_.WaitForRunning("j2", Any);
  EXPECT_EQ(server_.count(kJob), 0);
}

TEST_F(WorkerTest, AStaleLeaseFoundByTheUploadIsNotReported) {
  server_.RefuseUploads(RichStatus(grpc::StatusCode::ABORTED, "STALE_LEASE", "fence 3 is not the newest"));
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker(kSuccess);
  EXPECT_TRUE(server_.WaitFor([&] { return !server_.upload_offsets().empty(); }));
  server_.RefuseUploads(grpc::Status::OK);
  server_.Assign(MakeAssignment("j2", 1));
  server_.WaitForResult("j2");
  EXPECT_EQ(server_.count(kJob), 0);
}

TEST_F(WorkerTest, EndsItsChildBeforeTheLeaseEndsWhenTheServerIsGone) {
  constexpr int kLeaseMs = 1200;
  server_.Assign(MakeAssignment(kJob, 3, kLeaseMs));
  StartWorker("echo $$ > $NOTES/child\nsay quantize 0.1\nsleep 1000");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  ASSERT_TRUE(IsAlive(ReadNote("child")));
  const auto begin = std::chrono::steady_clock::now();
  server_.Stop();
  EXPECT_TRUE(server_.WaitFor([&] { return !IsAlive(ReadNote("child")); }));
  EXPECT_LE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(kLeaseMs));

  server_.Start();  // the same worker takes the next job
  server_.Assign(MakeAssignment("j2", 1));
  server_.WaitForRunning("j2", Any);
  EXPECT_EQ(server_.count(kJob), 0);
}

TEST_F(WorkerTest, AShortOutageOfTheServerIsSurvived) {
  server_.Assign(MakeAssignment(kJob, 3, 20'000));
  StartWorker(absl::StrCat("say quantize 0.1\nwhile [ ! -e $NOTES/go ]; do sleep 0.01; done\n", kSuccess));
  server_.WaitForRunning(kJob, Any);
  server_.Stop();
  ASSERT_OK(WriteFileDurably(RealFileSystem(), JoinPath(folder_, "go"), ""));
  server_.Start();
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED);
}

TEST_F(WorkerTest, OfSeveralServersOneThatAnswersIsUsed) {
  options_.server = absl::StrCat("127.0.0.1:1, ", server_.address(), ",127.0.0.1:2");
  server_.Assign(MakeAssignment(kJob, 1));
  StartWorker(kSuccess);
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED);
}

TEST_F(WorkerTest, ResultsAreRepeatedUntilAcknowledgedAndThenNoMore) {
  server_.WithholdAcknowledgements(3);
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker(kSuccess);
  EXPECT_TRUE(server_.WaitFor([&] { return server_.count(kJob) == 4; }));
  server_.Assign(MakeAssignment("j2", 1));
  server_.WaitForResult("j2");
  EXPECT_EQ(server_.count(kJob), 4);
}

TEST_F(WorkerTest, ABrokenUploadResumesWhereItBroke) {
  server_.BreakUploads(/*times=*/2, /*bytes=*/1'000'000);
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker(kSuccess);
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED);
  EXPECT_EQ(server_.files(kJob, 3).at("model-00001.safetensors"), std::string(3'000'000, '\0'));
  EXPECT_THAT(server_.upload_offsets(), testing::Contains(1'000'000).Times(2));
}

TEST_F(WorkerTest, ADamagedUploadIsSentAgainThenGivenUp) {
  server_.DamageUploads(1);
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker(kSuccess);
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED);

  server_.DamageUploads(1000);
  server_.Assign(MakeAssignment("j2", 3));
  const v1::FinishedJob result = server_.WaitForResult("j2");
  EXPECT_EQ(result.outcome(), kCrashed);
  EXPECT_EQ(result.error().reason(), "DIGEST_MISMATCH");
}

// gRPC itself refuses calls, without a reason of ours, when the server is out of threads or stops in between.
TEST_F(WorkerTest, ErrorsOfTheTransportOnlyDelayAnUpload) {
  for (const grpc::StatusCode code : {grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::CANCELLED,
                                      grpc::StatusCode::INTERNAL, grpc::StatusCode::UNKNOWN}) {
    server_.RefuseUploads(grpc::Status(code, "made by gRPC"));
    const std::string job = absl::StrCat("job-", code);
    server_.Assign(MakeAssignment(job, 3));
    if (!thread_.joinable()) StartWorker(kSuccess);
    const size_t before = server_.upload_offsets().size();
    ASSERT_TRUE(server_.WaitFor([&] { return server_.upload_offsets().size() > before; })) << code;
    server_.RefuseUploads(grpc::Status::OK);
    EXPECT_EQ(server_.WaitForResult(job).outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED) << code;
  }
}

// A child with the report of $1 bytes.
std::string WithReportOf(int bytes) {
  return absl::StrCat(kSuccess, "printf '{\"preset\":\"' > $OUT/report.json\nhead -c ", bytes,
                      " /dev/zero | tr '\\0' x >> $OUT/report.json\nprintf '\"}' >> $OUT/report.json\n");
}

TEST_F(WorkerTest, AResultTooLargeForTheServerFailsItsJobAndNothingElse) {
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker(absl::StrCat("[ -e $NOTES/first ] && exit 9\n: > $NOTES/first\n", WithReportOf(17 << 20)));
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.error().reason(), "RESULT_TOO_LARGE");
  EXPECT_THAT(result.error().message(), testing::HasSubstr("at most 12582912"));
  EXPECT_TRUE(server_.upload_offsets().empty()) << "found before the upload";
  server_.Assign(MakeAssignment("j2", 1));
  EXPECT_EQ(server_.WaitForResult("j2").error().exit_code(), 9);
}

TEST_F(WorkerTest, LargeResultsAreReportedOneAfterTheOther) {
  options_.slots = 3;
  server_.WithholdAcknowledgements(4);  // so that they come together
  const std::vector<std::string> jobs = {"a", "b", "c"};
  for (const std::string& job : jobs) server_.Assign(MakeAssignment(job, 1, 60'000));
  StartWorker(WithReportOf(7 << 20));
  for (const std::string& job : jobs) {
    EXPECT_EQ(server_.WaitForResult(job).outcome(), v1::FinishedJob::OUTCOME_SUCCEEDED) << job;
  }
}

TEST_F(WorkerTest, AFullServerIsAReasonToTryLater) {
  server_.RefuseUploads(RichStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "DISK_FULL", "no space for artifacts"));
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker(kSuccess);
  const v1::FinishedJob result = server_.WaitForResult(kJob);
  EXPECT_EQ(result.outcome(), kCrashed);
  EXPECT_EQ(result.error().reason(), "DISK_FULL");
  EXPECT_THAT(result.error().message(), testing::HasSubstr("no space for artifacts"));
}

TEST_F(WorkerTest, DrainReturnsRunningJobs) {
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker("echo $$ > $NOTES/child\nsay quantize 0.1\nsleep 1000");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  StopWorker();
  EXPECT_EQ(server_.WaitForResult(kJob).outcome(), v1::FinishedJob::OUTCOME_RETURNED);
  EXPECT_FALSE(IsAlive(ReadNote("child")));
  EXPECT_TRUE(server_.requests().back().draining());
  EXPECT_TRUE(ScratchNames().empty());
}

TEST_F(WorkerTest, DrainEndsThoughTheServerIsGone) {
  options_.drain_limit = absl::Milliseconds(200);
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker("echo $$ > $NOTES/child\nsay quantize 0.1\nsleep 1000");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  server_.Stop();
  StopWorker();  // returns, or the test times out
  EXPECT_FALSE(IsAlive(ReadNote("child")));
}

TEST_F(WorkerTest, AnIdleDrainDoesNotWaitForAServerThatIsGone) {
  StartWorker(kSuccess);
  ASSERT_TRUE(server_.WaitFor([&] { return !server_.requests().empty(); }));
  server_.Stop();
  const auto begin = std::chrono::steady_clock::now();
  StopWorker();
  EXPECT_LT(absl::FromChrono(std::chrono::steady_clock::now() - begin), options_.drain_limit / 2);
  EXPECT_OK(end_);
}

TEST_F(WorkerTest, GivesUpWhenAnotherProcessTookItsId) {
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker("echo $$ > $NOTES/child\nsay quantize 0.1\nsleep 1000");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  server_.RefuseWorker(RichStatus(grpc::StatusCode::ABORTED, "WORKER_REPLACED", "give it another --worker-id"));
  EXPECT_TRUE(server_.WaitFor([&] { return !IsAlive(ReadNote("child")); }));
  StopWorker();
  EXPECT_THAT(end_, FailsWith("WORKER_REPLACED", "--worker-id"));
}

TEST_F(WorkerTest, RunsAsManyJobsAsItHasSlotsAndGivesTheRestBack) {
  options_.slots = 2;
  for (const char* job : {"a", "b", "c"}) server_.Assign(MakeAssignment(job, 1));
  StartWorker("say quantize 0.1\nsleep 1000");
  EXPECT_EQ(server_.WaitForResult("c").outcome(), v1::FinishedJob::OUTCOME_RETURNED);
  EXPECT_TRUE(server_.WaitFor([&] { return server_.requests().back().running_size() == 2; }));
}

TEST_F(WorkerTest, TheJobFileIsTheSpecInJsonWithSnakeCaseNames) {
  v1::Assignment assignment = MakeAssignment(kJob, 3);
  v1::QuantJobSpec& spec = *assignment.mutable_spec();
  (*spec.mutable_recipe()->mutable_overrides()->mutable_fields())["group_size"].set_number_value(64);
  spec.mutable_calibration()->set_file("books/calibration.txt");
  spec.mutable_recipe()->add_rules()->set_pattern("*.down_proj");
  server_.Assign(assignment);
  StartWorker("cp $JOB $NOTES/job.json\nexit 5");
  server_.WaitForResult(kJob);
  const std::string json = ReadNote("job.json");
  for (const char* part :
       {"\"group_size\": 64", "\"calibration\"", "books/calibration.txt", "*.down_proj", "\"tiny\""}) {
    EXPECT_THAT(json, testing::HasSubstr(part));
  }
}

TEST_F(WorkerTest, PhasesAndProgressReachTheServer) {
  server_.Assign(MakeAssignment(kJob, 3));
  StartWorker("say calibrate 0.1\nsleep 0.1\nsay quantize 0.5\nsleep 0.1\nsay quantize 0.75\nsleep 1000");
  const v1::RunningJob running =
      server_.WaitForRunning(kJob, [](const auto& progress) { return progress.fraction() == 0.75; });
  EXPECT_EQ(running.progress().phase(), "quantize");
  EXPECT_EQ(running.progress().blocks(), 2);
  EXPECT_EQ(running.progress().layer(), "layers.0.up");
}

TEST_F(WorkerTest, DoesNotAskAServerInALoop) {
  server_.Assign(MakeAssignment(kJob, 3, 30'000));
  server_.DeclareStale("other", 1);  // every answer comes at once, with nothing new
  StartWorker("say quantize 0.1\nsleep 1000");
  server_.WaitForRunning(kJob, [](const auto& progress) { return progress.phase() == "quantize"; });
  const size_t before = server_.requests().size();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LE(server_.requests().size() - before, 60u) << "10 ms between calls at the very least";
}

}  // namespace
}  // namespace quantd
