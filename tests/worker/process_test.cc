#include "worker/agent/process.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "core/base/file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"
#include "tests/worker/worker_fixture.h"

namespace quantd {
namespace {

struct Outcome {
  ExitStatus status;
  std::string progress;
  std::string errors;
};

void ReadInto(int fd, std::string& text) {
  char buffer[4096];
  const ssize_t got = read(fd, buffer, sizeof buffer);
  if (got > 0) text.append(buffer, static_cast<size_t>(got));
}

SpawnOptions Shell(const std::string& script) {
  SpawnOptions options;
  options.argv = {"/bin/sh", "-c", script};
  options.directory = "/";
  options.environment = {"PATH=/usr/bin:/bin"};
  return options;
}

Outcome RunToEnd(const SpawnOptions& options) {
  Outcome outcome;
  const absl::StatusOr<std::unique_ptr<ChildProcess>> child = RealSpawner().Spawn(options);
  EXPECT_OK(child);
  if (!child.ok()) return outcome;
  std::optional<ExitStatus> status;
  while (!status.has_value()) {
    status = (*child)->Poll();
    ReadInto((*child)->progress_fd(), outcome.progress);
    ReadInto((*child)->stderr_fd(), outcome.errors);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  outcome.status = *status;
  return outcome;
}

TEST(Process, GivesProgressErrorsAndExitCode) {
  const Outcome outcome = RunToEnd(Shell("echo news >&3; echo trouble >&2; echo lost; exit 7"));
  EXPECT_EQ(outcome.progress, "news\n");
  EXPECT_EQ(outcome.errors, "trouble\n");
  EXPECT_EQ(outcome.status.exit_code, 7);
  EXPECT_EQ(outcome.status.signal, 0);
}

TEST(Process, GivesTheSignal) {
  const Outcome outcome = RunToEnd(Shell("kill -ABRT $$"));
  EXPECT_EQ(outcome.status.signal, SIGABRT);
  EXPECT_EQ(outcome.status.exit_code, 0);
}

TEST(Process, InheritsNoDescriptorNoSignalMaskAndNoEnvironment) {
  ASSERT_EQ(setenv("SECRET_TOKEN", "hunter2", 1), 0);
  const int leaked = dup(STDERR_FILENO);  // not close-on-exec
  ASSERT_GE(leaked, 0);
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
  const Outcome outcome =
      RunToEnd(Shell("ls /proc/self/fd | tr '\\n' ' ' >&3; grep -h SigBlk /proc/self/status >&3; env >&3"));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(leaked);
  // ls itself holds one more for the folder it lists.
  EXPECT_THAT(outcome.progress, testing::StartsWith("0 1 2 3 4 SigBlk:\t0000000000000000\n"));
  EXPECT_THAT(outcome.progress, testing::Not(testing::HasSubstr("hunter2")));
  for (const std::string& variable : ChildEnvironment()) {
    EXPECT_THAT(variable, testing::Not(testing::HasSubstr("hunter2")));
  }
  unsetenv("SECRET_TOKEN");
}

TEST(Process, LimitsCoreFilesMemoryAndPrivileges) {
  SpawnOptions options = Shell("ulimit -c >&3; ulimit -n >&3; ulimit -v >&3; grep NoNewPrivs /proc/self/status >&3");
  options.memory_limit_bytes = 512 << 20;
  const Outcome outcome = RunToEnd(options);
  EXPECT_THAT(outcome.progress, testing::MatchesRegex("0\n[0-9]+\n524288\nNoNewPrivs:\t1\n"));
  EXPECT_LE(std::stoi(outcome.progress.substr(2)), 1024);
}

TEST(Process, IsTheLeaderOfASessionOfItsOwnInTheGivenFolder) {
  SpawnOptions options = Shell("cut -d' ' -f1,5,6 /proc/$$/stat >&3; pwd >&3");
  options.directory = "/proc";
  const Outcome outcome = RunToEnd(options);
  EXPECT_THAT(outcome.progress, testing::MatchesRegex("([0-9]+) [0-9]+ [0-9]+\n/proc\n"));
  const std::string pid = outcome.progress.substr(0, outcome.progress.find(' '));
  EXPECT_EQ(outcome.progress, pid + " " + pid + " " + pid + "\n/proc\n");
}

TEST(Process, WhatIsLeftOfTheGroupDiesWithItsLeader) {
  const Outcome outcome = RunToEnd(Shell("trap '' TERM; sleep 1000 & echo $! >&3; exit 0"));
  const std::string orphan = outcome.progress.substr(0, outcome.progress.find('\n'));
  ASSERT_NE(orphan, "");
  for (int i = 0; i < 2000 && IsAlive(orphan); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(IsAlive(orphan));
}

TEST(Process, DestructionKillsAndReaps) {
  std::string text;
  {
    ASSERT_OK_AND_ASSIGN(const auto child, RealSpawner().Spawn(Shell("trap '' TERM; echo $$ >&3; sleep 1000")));
    while (text.empty()) ReadInto(child->progress_fd(), text);
  }
  EXPECT_FALSE(IsAlive(text.substr(0, text.find('\n'))));
}

TEST(Process, ChildrenDieWithTheThreadThatStartedThem) {
  std::string pid;
  std::unique_ptr<ChildProcess> child;
  std::thread([&] {
    absl::StatusOr<std::unique_ptr<ChildProcess>> spawned = RealSpawner().Spawn(Shell("echo $$ >&3; exec sleep 1000"));
    ASSERT_OK(spawned);
    child = *std::move(spawned);
    while (pid.empty()) ReadInto(child->progress_fd(), pid);
  }).join();
  ASSERT_NE(child, nullptr);
  std::optional<ExitStatus> status;
  for (int i = 0; i < 2000 && !status.has_value(); ++i) {
    status = child->Poll();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->signal, SIGKILL);
}

TEST(Process, SaysWhyItCannotStart) {
  SpawnOptions options = Shell("exit 0");
  options.argv[0] = "/nowhere/quant";
  EXPECT_THAT(RealSpawner().Spawn(options), FailsWith("CHILD_NOT_STARTED", "'/nowhere/quant'"));
  options = Shell("exit 0");
  options.directory = "/nowhere";
  EXPECT_THAT(RealSpawner().Spawn(options), FailsWith("CHILD_NOT_STARTED", "No such file"));
}

}  // namespace
}  // namespace quantd
