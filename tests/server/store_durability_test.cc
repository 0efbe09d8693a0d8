// What a killed daemon leaves behind, and starts that must not go on.
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "server/scheduler/transitions.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_database.h"
#include "tests/server/daemon_fixture.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using v1::QuantJob;

NewJob NumberedJob(int number) {
  NewJob job;
  job.id = absl::StrCat("j", number);
  job.request_id = absl::StrCat("request ", number);
  job.spec.set_model("m");
  job.spec.mutable_recipe()->set_preset("gptq");
  job.create_time = absl::FromUnixSeconds(1'700'000'000 + number);
  return job;
}

// Submits jobs and starts every second one for ever, and writes each number once the store has acknowledged it.
[[noreturn]] void SubmitUntilKilled(const std::string& directory, int acknowledged) {
  FakeClock clock;
  auto store = OpenSqliteJobStore(directory, clock);
  if (!store.ok()) _exit(1);
  const auto start = [&](JobRecord& record) {
    return StartAttempt(record, {.worker = "w", .incarnation = "i"}, clock.Now(), absl::Seconds(15));
  };
  for (int number = 0;; ++number) {
    if (!(*store)->Submit(NumberedJob(number), {}).ok()) _exit(2);
    if (number % 2 == 0 && !(*store)->Update(DurableStep::kClaim, absl::StrCat("j", number), start).ok()) _exit(3);
    if (write(acknowledged, &number, sizeof number) != sizeof number) _exit(4);
  }
}

// Numbers read from a child that was killed at some moment after `enough` of them.
std::vector<int> AcknowledgedBeforeKill(const std::string& directory, size_t enough) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    SubmitUntilKilled(directory, ends[1]);
  }
  close(ends[1]);
  std::vector<int> numbers;
  int number = 0;
  while (read(ends[0], &number, sizeof number) == sizeof number) {
    numbers.push_back(number);
    if (numbers.size() == enough) kill(child, SIGKILL);
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << "exit code " << WEXITSTATUS(status);
  return numbers;
}

TEST(StoreDurability, KilledDaemonLosesNothingThatItAcknowledged) {
  const std::string directory = MakeTempDir();
  for (const size_t enough : {1, 7, 40}) {
    const std::string folder = absl::StrCat(directory, "/", enough);
    ASSERT_OK(RealFileSystem().CreateDirectories(folder));
    const std::vector<int> numbers = AcknowledgedBeforeKill(folder, enough);
    ASSERT_GE(numbers.size(), enough);
    FakeClock clock;
    ASSERT_OK_AND_ASSIGN(const auto store, OpenSqliteJobStore(folder, clock));
    for (const int number : numbers) {
      ASSERT_OK_AND_ASSIGN(const JobRecord record, store->Get(absl::StrCat("j", number)));
      EXPECT_EQ(record.job.state(), number % 2 == 0 ? QuantJob::RUNNING : QuantJob::QUEUED);
      EXPECT_EQ(record.fence, number % 2 == 0 ? 1 : 0);
      ASSERT_OK_AND_ASSIGN(const SubmitResult again, store->Submit(NumberedJob(number), {}));
      EXPECT_TRUE(again.duplicate) << "a retry of " << number << " finds its job";
    }
    ASSERT_OK_AND_ASSIGN(const auto all, store->List({.limit = 10'000}));
    EXPECT_LE(all.size(), numbers.size() + 1) << "at most one was committed and not acknowledged";
  }
}

class StartTest : public DaemonTest {
 protected:
  absl::Status StartSecond() { return Daemon::Start(config_, directory_, {clock_, quant_program_}).status(); }
};

TEST_F(StartTest, RestartedDaemonHasEveryJobReportAndArtifact) {
  const SmallArtifact small;
  const std::string done = Submitted();
  Succeed(TakeJob(), small);
  const std::string running = Submitted("rtn");
  const v1::Assignment job = TakeJob();
  const std::string queued = Submitted();
  std::vector<std::string> before;
  for (const std::string& name : {done, running, queued}) before.push_back(Get(name)->SerializeAsString());
  Start();
  EXPECT_EQ(Get(done)->SerializeAsString(), before[0]);
  EXPECT_EQ(Get(running)->SerializeAsString(), before[1]);
  ASSERT_OK_AND_ASSIGN(const QuantJob waiting, Get(queued));
  EXPECT_EQ(waiting.state(), QuantJob::QUEUED);
  Succeed(job, small);  // the worker goes on where it was, with the fence that it had
  EXPECT_EQ(Get(running)->state(), QuantJob::SUCCEEDED);
}

TEST_F(StartTest, SecondDaemonOnOneDataDirectoryIsRefused) {
  EXPECT_THAT(StartSecond(), FailsWith("DATA_DIRECTORY_LOCKED", absl::StrCat("process ", getpid())));
  EXPECT_OK(List({})) << "the first one is not disturbed";
  daemon_.reset();
  EXPECT_OK(StartSecond());
}

TEST_F(StartTest, PortsInUseAreNamed) {
  const ServerConfig original = config_;
  config_.data_dir = directory_ + "/other";
  for (std::string ServerConfig::*setting : {&ServerConfig::listen, &ServerConfig::http_listen}) {
    for (const std::string& address : {daemon_->grpc_address(), daemon_->http_address()}) {
      config_.*setting = address;
      EXPECT_THAT(StartSecond(), FailsWith("ADDRESS_IN_USE", address));
      EXPECT_THAT(StartSecond(), FailsWith("ADDRESS_IN_USE", "choose another port")) << "the folder was let go again";
      config_.*setting = original.*setting;
    }
  }
  EXPECT_OK(StartSecond());
}

TEST_F(StartTest, NewerDataDirectoryIsRefusedAndLeftAlone) {
  const std::string name = Submitted();
  daemon_.reset();
  const std::string database = config_.data_dir + "/quantd.db";
  ASSERT_OK_AND_ASSIGN(auto connection, SqliteConnection::Open(database, /*read_only=*/false));
  ASSERT_OK(connection->Execute("PRAGMA user_version = 99"));
  EXPECT_THAT(StartSecond(), FailsWith("DATA_DIRECTORY_TOO_NEW", "schema 99"));
  EXPECT_THAT(StartSecond(), FailsWith("DATA_DIRECTORY_TOO_NEW", config_.data_dir));
  ASSERT_OK(connection->Execute("PRAGMA user_version = 2"));
  connection.reset();
  Start();
  EXPECT_OK(Get(name)) << "nothing was touched";
}

TEST_F(StartTest, ProgramsAndRootsMustBeThere) {
  const ServerConfig original = config_;
  daemon_.reset();
  struct Row {
    const char* reason;
    std::string ServerConfig::*setting;
    std::string value;
  };
  const Row rows[] = {
      {"ROOT_MISSING", &ServerConfig::model_root, "/nowhere"},
      {"ROOT_MISSING", &ServerConfig::data_root, "/dev/null"},
      {"QUANT_MISSING", &ServerConfig::quant, "/nowhere/quant"},
      {"ADDRESS_INVALID", &ServerConfig::listen, "everywhere"},
      {"ADDRESS_INVALID", &ServerConfig::http_listen, "192.0.2.1:0"},
      {"DATA_DIRECTORY_UNUSABLE", &ServerConfig::data_dir, "/dev/null/data"},
  };
  for (const Row& row : rows) {
    config_ = original;
    config_.*row.setting = row.value;
    EXPECT_THAT(StartSecond(), FailsWith(row.reason, row.value));
  }
}

}  // namespace
}  // namespace quantd
