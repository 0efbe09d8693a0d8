// quant-worker: takes jobs from a quantd server and runs each in a child process. SIGTERM and SIGINT drain it.
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/logging.h"
#include "core/base/program.h"
#include "core/base/status.h"
#include "core/base/thread_pool.h"
#include "core/objects/model_cache.h"
#include "worker/agent/agent.h"
#include "worker/agent/host.h"

namespace quantd {
namespace {

constexpr int kExitUsage = 2;
constexpr int kExitFailure = 1;  // a folder or program is missing or in use, or the worker id is taken

struct Flags {
  AgentOptions agent;
  S3Options store;
  std::string model_prefixes;
  ModelCacheOptions cache = {.directory = {}, .max_bytes = int64_t{100} << 30, .prefixes = {}};
  std::string scratch_root;
  int threads = 0;
  int grace_ms = 1500;
  int drain_grace_ms = 10'000;
};

void Declare(CLI::App& app, Flags& flags) {
  AgentOptions& agent = flags.agent;
  agent.worker_id = DefaultWorkerId();
  agent.runner.quant_path = JoinPath(ExecutableDirectory(), "quant");
  app.add_option("--server", agent.server,
                 "Address of quantd, HOST:PORT; of several servers with one queue separated by commas")
      ->required();
  app.add_option("--model-root", agent.runner.model_root, "Folder that jobs name models in")->required();
  app.add_option("--data-root", agent.runner.data_root, "Folder that jobs name texts in")->required();
  app.add_option("--scratch-dir", flags.scratch_root, "Folder for work in progress; emptied at start, per worker id")
      ->required();
  app.add_option("--worker-id", agent.worker_id, "Name of this worker, unique per server")
      ->check(CLI::Validator(
          [](std::string& id) { return IsWorkerId(id) ? "" : "must match [a-z]([a-z0-9-]{0,61}[a-z0-9])?"; }, "ID"))
      ->capture_default_str();
  app.add_option("--slots", agent.slots, "Jobs run at once")->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--threads", flags.threads, "Threads of one job; 0: the cores divided by the slots")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--quant", agent.runner.quant_path, "Program that runs a job")->capture_default_str();
  app.add_option("--memory-limit-bytes", agent.runner.memory_limit_bytes,
                 "Address space of one job, which includes mapped model files; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--grace-ms", flags.grace_ms, "Time from SIGTERM to SIGKILL when a job is cancelled")
      ->check(CLI::Range(0, 600'000))
      ->capture_default_str();
  app.add_option("--drain-grace-ms", flags.drain_grace_ms,
                 "Time in a drain for last checkpoints and uploads; a child gets SIGKILL after half of it")
      ->check(CLI::Range(0, 3'600'000))
      ->capture_default_str();
  app.set_version_flag("--version", QUANTD_VERSION);
  app.footer(
      "SIGTERM or SIGINT: running jobs keep their checkpoints and go back to the queue, then the program exits with "
      "0.\n"
      "Exit codes: 0 drained, 1 cannot work (the message says why), 2 wrong flags.\n"
      "Example:\n"
      "  quant-worker --server 127.0.0.1:7433 --model-root data/models --data-root data --scratch-dir /var/tmp/quantd");
}

void DeclareObjectStore(CLI::App& app, Flags& flags) {
  app.add_option("--model-store-prefixes", flags.model_prefixes,
                 "s3://BUCKET/PREFIX, separated by commas, below which jobs may name models; as the server's");
  app.add_option("--model-cache-dir", flags.cache.directory,
                 "Folder for models of object stores, shared by workers of this host; default: .model-cache in the "
                 "scratch folder");
  app.add_option("--model-cache-bytes", flags.cache.max_bytes, "Bytes that the model cache may hold")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--s3-endpoint", flags.store.endpoint,
                 "http[s]://HOST[:PORT] of the object store; default: Amazon's of --s3-region");
  app.add_option("--s3-region", flags.store.region, "Region that requests are signed for")->capture_default_str();
  app.add_flag("--s3-path-style", flags.store.path_style, "Name the bucket in the path instead of the host");
  app.add_option("--s3-ca-file", flags.store.transport.ca_file, "PEM file of the authorities it is trusted by");
  app.add_option("--s3-credentials-file", flags.store.credentials_file,
                 "In the form of ~/.aws/credentials; default: $AWS_ACCESS_KEY_ID, $AWS_SECRET_ACCESS_KEY and "
                 "$AWS_SESSION_TOKEN");
}

absl::StatusOr<std::string> RealFolder(const std::string& flag, const std::string& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (!error && std::filesystem::is_directory(real)) return real.string();
  return InvalidInput("FOLDER_MISSING", absl::StrCat(flag, " ", path, ": no such folder"));
}

// Children run in their scratch folders: every path is made absolute.
absl::Status Complete(Flags& flags) {
  RunnerOptions& runner = flags.agent.runner;
  ASSIGN_OR_RETURN(runner.model_root, RealFolder("--model-root", runner.model_root));
  ASSIGN_OR_RETURN(runner.data_root, RealFolder("--data-root", runner.data_root));
  std::error_code error;
  runner.quant_path = std::filesystem::absolute(runner.quant_path, error).string();
  if (access(runner.quant_path.c_str(), X_OK) != 0) {
    return InvalidInput("QUANT_MISSING", absl::StrCat("--quant ", runner.quant_path, ": no such program"));
  }
  RETURN_IF_ERROR(RealFileSystem().CreateDirectories(flags.scratch_root));
  ASSIGN_OR_RETURN(flags.scratch_root, RealFolder("--scratch-dir", flags.scratch_root));
  runner.threads = flags.threads > 0 ? flags.threads : std::max(1, AvailableCores() / flags.agent.slots);
  runner.grace = absl::Milliseconds(flags.grace_ms);
  runner.drain_grace = absl::Milliseconds(flags.drain_grace_ms);
  return absl::OkStatus();
}

// Null when jobs may name no models in object stores.
absl::StatusOr<std::unique_ptr<ModelCache>> OpenModels(const Flags& flags) {
  if (flags.model_prefixes.empty()) return nullptr;
  ModelCacheOptions options = flags.cache;
  ASSIGN_OR_RETURN(options.prefixes, ParseModelPrefixes(flags.model_prefixes));
  if (options.directory.empty()) options.directory = JoinPath(flags.scratch_root, ".model-cache");
  return ModelCache::Open(std::move(options), flags.store);
}

void DrainOnSignal(int signals, Agent& agent) {
  signalfd_siginfo info;
  while (read(signals, &info, sizeof info) < 0 && errno == EINTR) {
  }
  agent.Drain();
}

absl::Status Serve(Flags& flags) {
  const int signals = BlockStopSignals();
  RETURN_IF_ERROR(Complete(flags));
  ASSIGN_OR_RETURN(const ScratchFolder scratch,
                   ScratchFolder::Open(RealFileSystem(), flags.scratch_root, flags.agent.worker_id));
  flags.agent.runner.scratch_dir = scratch.path();
  ASSIGN_OR_RETURN(const auto models, OpenModels(flags));
  flags.agent.runner.model_cache = models.get();
  Agent agent(flags.agent, {RealFileSystem(), RealSpawner()});
  std::thread waiter(DrainOnSignal, signals, std::ref(agent));
  const absl::Status status = agent.Run();
  if (!status.ok()) kill(getpid(), SIGTERM);  // else it returned because of one: the waiter has ended
  waiter.join();
  return status;
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  quantd::NoticeServersSoon();
  CLI::App app("Runs quantd's jobs on this machine.");
  quantd::Flags flags;
  quantd::Declare(app, flags);
  quantd::DeclareObjectStore(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : quantd::kExitUsage;
  }
  const absl::Status status = quantd::Serve(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "quant-worker: %s\n", std::string(status.message()).c_str());
  return quantd::kExitFailure;
}
