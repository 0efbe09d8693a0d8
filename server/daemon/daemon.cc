#include "server/daemon/daemon.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/logging.h"
#include "core/base/repeater.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/base/thread_pool.h"
#include "server/api/quant_service.h"
#include "server/api/worker_service.h"
#include "server/daemon/change_relay.h"
#include "server/daemon/grpc_listener.h"
#include "server/daemon/object_stores.h"
#include "server/daemon/scrape.h"
#include "server/daemon/tenants_file.h"
#include "server/metrics/http_endpoint.h"
#include "server/planner/planner.h"
#include "server/process/local_workers.h"
#include "server/retention/retention.h"
#include "server/retention/retention_settings.h"
#include "server/store/data_directory.h"
#include "server/store/open_job_store.h"
#include "server/store/postgres_dsn.h"

namespace quantd {
namespace {

absl::StatusOr<std::string> RealFolder(absl::string_view flag, const std::string& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (!error && std::filesystem::is_directory(real, error)) return real.string();
  return InvalidInput("ROOT_MISSING", absl::StrFormat("%s %s: no such folder; create it or name another", flag, path));
}

absl::Status CheckProgram(const std::string& path, absl::string_view flag) {
  if (access(path.c_str(), X_OK) == 0) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kFailedPrecondition, "QUANT_MISSING",
                     absl::StrFormat("%s: no such program; build it, or %s", path, flag));
}

// What GET /retention lists of each kind, at most.
constexpr int kShownOfPlan = 100;

// Without a sweep for so long (or ten of its periods) the daemon is not ready: leases would not end.
constexpr absl::Duration kSweepWatchdog = absl::Seconds(30);

class RunningDaemon : public Daemon {
 public:
  RunningDaemon(ServerConfig config, std::string executable_dir, DaemonServices services)
      : config_(std::move(config)), executable_dir_(std::move(executable_dir)), services_(services) {}
  ~RunningDaemon() override {
    Shutdown([](absl::Duration) {});
    relay_->SetScheduler(nullptr);
  }

  absl::Status Initialize() {
    RETURN_IF_ERROR(CompleteConfig());
    RETURN_IF_ERROR(OpenStores());
    RETURN_IF_ERROR(MakeServices());
    RETURN_IF_ERROR(Listen());
    StartLocalWorkers();
    serving_ = true;
    grpc_->SetServing(true);
    return WritePortFile();
  }

  std::string grpc_address() const override { return grpc_->address(); }
  std::string http_address() const override { return http_->address(); }

  void Shutdown(const std::function<void(absl::Duration)>& wait) override {
    if (!serving_.exchange(false)) return;
    grpc_->SetServing(false);
    wait(absl::Milliseconds(config_.drain_delay_ms));
    const absl::Duration limit = absl::Milliseconds(config_.drain_limit_ms);
    scheduler_->Drain();
    // First the local workers: they give their jobs back through the server.
    if (local_workers_ != nullptr) local_workers_->Stop(limit);
    scheduler_->EndWatches();
    grpc_->Shutdown(limit);
    retention_->Stop();
    retention_thread_.reset();
    sweeper_.reset();
    if (!config_.port_file.empty()) (void)RealFileSystem().RemoveFile(config_.port_file);
  }

 private:
  absl::Status CompleteConfig() {
    ASSIGN_OR_RETURN(config_.model_root, RealFolder("--model-root", config_.model_root));
    ASSIGN_OR_RETURN(config_.data_root, RealFolder("--data-root", config_.data_root));
    quant_path_ = config_.quant.empty() ? JoinPath(executable_dir_, "quant") : config_.quant;
    RETURN_IF_ERROR(CheckProgram(quant_path_, "name it with --quant"));
    if (config_.local_workers == 0) return absl::OkStatus();
    return CheckProgram(JoinPath(executable_dir_, "quant-worker"), "run without --local-workers");
  }

  absl::Status OpenStores() {
    ASSIGN_OR_RETURN(DataDirectory directory, DataDirectory::Open(config_.data_dir));
    directory_ = std::make_unique<DataDirectory>(std::move(directory));
    ASSIGN_OR_RETURN(config_.data_dir, RealFolder("--data-dir", config_.data_dir));
    ASSIGN_OR_RETURN(catalogue_, LoadCatalogue(quant_path_, services_.runner));
    std::vector<std::string> presets;
    for (const v1::Preset& preset : catalogue_.presets()) presets.push_back(preset.name());
    metrics_ = std::make_unique<ServiceMetrics>(std::move(presets));
    const auto on_commit = [this](double seconds, int writes) {
      metrics_->Observe(Metric::kStoreCommitSeconds, seconds);
      metrics_->Observe(Metric::kStoreCommitBatchSize, writes);
    };
    ASSIGN_OR_RETURN(const std::string dsn, ReadStoreDsn(config_.store_dsn, config_.store_dsn_file));
    has_other_servers_ = !dsn.empty();
    ASSIGN_OR_RETURN(store_, OpenJobStore({.data_directory = config_.data_dir,
                                           .dsn = dsn,
                                           .connections = static_cast<int>(config_.store_connections),
                                           .cache_bytes = config_.store_cache_bytes,
                                           .clock = services_.clock,
                                           .on_commit = on_commit}));
    store_->ListenToOthers([relay = relay_] { relay->JobsChanged(); });
    ASSIGN_OR_RETURN(objects_, OpenObjectStore(config_));
    ASSIGN_OR_RETURN(artifacts_, OpenArtifacts(config_, objects_.get()));
    ASSIGN_OR_RETURN(models_, OpenModelCache(config_, objects_.get()));
    return absl::OkStatus();
  }

  absl::Status MakeServices() {
    scheduler_ = std::make_unique<Scheduler>(
        SchedulerOptions{.lease = absl::Milliseconds(config_.lease_ms),
                         .max_queued_jobs = config_.max_queued_jobs,
                         .retain_artifacts = absl::Milliseconds(config_.retain_artifacts_ms),
                         .ageing = absl::Milliseconds(config_.ageing_ms),
                         .retry = {.first_pause = absl::Milliseconds(config_.requeue_ms)},
                         .quarantine = absl::Milliseconds(config_.quarantine_ms),
                         .has_other_servers = has_other_servers_},
        SchedulerServices{*store_, *artifacts_, services_.clock, *metrics_});
    relay_->SetScheduler(scheduler_.get());
    RETURN_IF_ERROR(FollowTenantsFile());
    RETURN_IF_ERROR(SpareLeases());
    RETURN_IF_ERROR(scheduler_->LearnRunTimes());
    if (const absl::Status status = scheduler_->DropLeftovers(); !status.ok()) {
      Log(Severity::kWarning, "leftovers_kept", {{"reason", ReasonOf(status)}}, status.message());
    }
    planner_ = NewQuantPlanner({.quant_path = quant_path_,
                                .models = {config_.model_root, models_.get()},
                                .data_root = config_.data_root,
                                .scratch_dir = JoinPath(config_.data_dir, "plans"),
                                .timeout = absl::Milliseconds(config_.plan_timeout_ms)},
                               services_.runner);
    quant_service_ = std::make_unique<QuantService>(QuantServiceParts{*store_,
                                                                      *artifacts_,
                                                                      *scheduler_,
                                                                      *planner_,
                                                                      *metrics_,
                                                                      services_.clock,
                                                                      catalogue_,
                                                                      config_.model_root,
                                                                      config_.data_root,
                                                                      absl::Milliseconds(config_.undelete_window_ms),
                                                                      {absl::Milliseconds(config_.watch_patience_ms)}});
    retention_ = std::make_unique<Retention>(RetentionOptionsOf(config_), RetentionServices{*store_, *artifacts_});
    worker_service_ = std::make_unique<WorkerService>(*scheduler_, *artifacts_, *metrics_);
    return absl::OkStatus();
  }

  // Renewals could not reach a server that was away.
  absl::Status SpareLeases() {
    if (!has_other_servers_) return scheduler_->ExtendLeases();
    scheduler_->SpareLeases();
    return absl::OkStatus();
  }

  absl::Status Listen() {
    ASSIGN_OR_RETURN(http_,
                     HttpEndpoint::Start(config_.http_listen,
                                         {.metrics =
                                              [this] {
                                                return ScrapeMetrics({*store_, *artifacts_, *scheduler_}, *metrics_);
                                              },
                                          .readiness = [this] { return Readiness(); },
                                          .retention = [this] { return ShowRetention(); }}));
    ASSIGN_OR_RETURN(grpc_, GrpcListener::Start({.address = config_.listen,
                                                 .reflection = config_.reflection,
                                                 .max_threads = static_cast<int>(config_.max_threads)},
                                                {quant_service_.get(), worker_service_.get()}));
    sweeper_ = std::make_unique<Repeater>(absl::Milliseconds(config_.sweep_ms), [this] { Sweep(); });
    // The first pass comes a whole period, and so at least a lease, after the start: results that were being published
    // when a former server was killed are recorded before their files could be taken for nobody's.
    const int64_t period_ms = std::max(config_.retention_ms, config_.lease_ms);
    retention_thread_ = std::make_unique<Repeater>(absl::Milliseconds(period_ms), [this] { Forget(); });
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ShowRetention() {
    ASSIGN_OR_RETURN(const RetentionPlan plan, retention_->DryRun(kShownOfPlan));
    return RetentionPlanJson(plan);
  }

  absl::Status FollowTenantsFile() {
    ASSIGN_OR_RETURN(std::optional<TenantTable> changed, tenants_file_.Changed());
    if (changed.has_value()) {
      scheduler_->SetTenants(*std::move(changed));
      Log(Severity::kInfo, "tenants_loaded", {{"file", config_.tenants_file}});
    }
    return absl::OkStatus();
  }

  void Sweep() {
    if (const absl::Status status = FollowTenantsFile(); !status.ok()) {
      Log(Severity::kError, "tenants_refused", {{"reason", ReasonOf(status)}}, status.message());
    }
    if (const absl::Status status = scheduler_->Sweep(); !status.ok()) {
      Log(Severity::kError, "sweep_failed", {{"reason", ReasonOf(status)}}, status.message());
    }
    // A database that was away may come back; a disk that failed does not.
    if (serving_) grpc_->SetServing(store_->writable());
    if (has_other_servers_) FollowOtherServers();
  }

  void FollowOtherServers() {
    if (!store_->writable()) scheduler_->SpareLeases();
    // What a server has changed that was killed before it told.
    const absl::StatusOr<int64_t> revision = store_->LastRevision();
    if (!revision.ok() || *revision == last_revision_) return;
    last_revision_ = *revision;
    relay_->JobsChanged();
  }

  // Of local workers: unlike those of other servers with the same queue, and the same after a restart.
  std::string LocalWorkerId(int64_t index) const {
    if (!has_other_servers_) return absl::StrCat("local-", index);
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    return absl::StrCat("local-", Sha256Hex(absl::StrCat(host, ":", config_.data_dir)).substr(0, 8), "-", index);
  }

  void Forget() {
    const auto counts = retention_->Pass();
    if (counts.ok()) return;
    Log(Severity::kError, "retention_failed", {{"reason", ReasonOf(counts.status())}}, counts.status().message());
  }

  absl::Status Readiness() {
    if (!store_->writable()) {
      return ReasonError(absl::StatusCode::kUnavailable, "STORE_FAILED", "the job database refuses writes; restart");
    }
    if (!serving_) return ReasonError(absl::StatusCode::kUnavailable, "NOT_SERVING", "starting or shutting down");
    const absl::Duration silent = services_.clock.Now() - scheduler_->last_sweep();
    if (silent <= std::max(kSweepWatchdog, 10 * absl::Milliseconds(config_.sweep_ms))) return absl::OkStatus();
    return ReasonError(absl::StatusCode::kUnavailable, "SWEEP_STALLED",
                       absl::StrFormat("expired leases were last looked for %d s ago; see the log for sweep_failed",
                                       absl::ToInt64Seconds(silent)));
  }

  void StartLocalWorkers() {
    const int64_t count = config_.local_workers;
    const int64_t shared = std::max<int64_t>(1, AvailableCores() / std::max<int64_t>(1, count));
    const int64_t threads = config_.worker_threads > 0 ? config_.worker_threads : shared;
    std::vector<std::vector<std::string>> commands;
    for (int64_t i = 0; i < count; ++i) {
      commands.push_back({JoinPath(executable_dir_, "quant-worker"), "--server", grpc_->address(), "--model-root",
                          config_.model_root, "--data-root", config_.data_root, "--scratch-dir",
                          JoinPath(config_.data_dir, "scratch"), "--worker-id", LocalWorkerId(i), "--slots", "1",
                          "--threads", absl::StrCat(threads), "--quant", quant_path_});
      const std::vector<std::string> models = ModelFlags(config_);
      commands.back().insert(commands.back().end(), models.begin(), models.end());
    }
    if (count > 0) local_workers_ = std::make_unique<LocalWorkers>(std::move(commands));
  }

  absl::Status WritePortFile() {
    Log(Severity::kInfo, "serving", {{"grpc", grpc_->address()}, {"http", http_->address()}});
    if (config_.port_file.empty()) return absl::OkStatus();
    const Json ports = {{"grpc", grpc_->address()}, {"http", http_->address()}};
    // No durable step: it is written at each start.
    return WriteFileDurably(RealFileSystem(), config_.port_file, JsonText(ports));
  }

  ServerConfig config_;
  TenantsFile tenants_file_{config_.tenants_file};  // by the sweeper's thread once that runs
  const std::string executable_dir_;
  const DaemonServices services_;
  std::string quant_path_;
  v1::ListRecipesResponse catalogue_;
  std::atomic<bool> serving_{false};
  bool has_other_servers_ = false;  // on the same store, perhaps
  int64_t last_revision_ = 0;       // by the sweeper's thread
  const std::shared_ptr<ChangeRelay> relay_ = std::make_shared<ChangeRelay>();

  // Destroyed from the last to the first: each uses those above it.
  std::unique_ptr<DataDirectory> directory_;
  std::unique_ptr<ServiceMetrics> metrics_;
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<S3Client> objects_;  // null without an object store
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<ModelCache> models_;  // null when models come from model_root alone
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Retention> retention_;
  std::unique_ptr<Planner> planner_;
  std::unique_ptr<QuantService> quant_service_;
  std::unique_ptr<WorkerService> worker_service_;
  std::unique_ptr<HttpEndpoint> http_;
  std::unique_ptr<GrpcListener> grpc_;
  std::unique_ptr<Repeater> sweeper_;
  std::unique_ptr<Repeater> retention_thread_;
  std::unique_ptr<LocalWorkers> local_workers_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const ServerConfig& config, const std::string& executable_dir,
                                                      DaemonServices services) {
  auto daemon = std::make_unique<RunningDaemon>(config, executable_dir, services);
  RETURN_IF_ERROR(daemon->Initialize());
  return std::unique_ptr<Daemon>(std::move(daemon));
}

}  // namespace quantd
