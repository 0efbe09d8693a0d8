// Latencies of the service, over loopback, with its real store on this disk:
//   submit          round trip of SubmitQuantJob: the call, the checks (kept from an earlier job) and a durable commit
//   queue_to_start  from the call until a waiting worker holds the assignment
// Baselines of the same run: an fsync of a 4 KiB append beside the database, and an empty RPC (a health check).
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/base/program.h"
#include "quantd/v1/quant_service.grpc.pb.h"
#include "quantd/v1/worker_service.grpc.pb.h"
#include "server/daemon/daemon.h"

namespace quantd::bench {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

double SecondsSince(SteadyTime begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

double MedianSeconds(int repeats, const std::function<void()>& body) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const SteadyTime begin = std::chrono::steady_clock::now();
    body();
    seconds.push_back(SecondsSince(begin));
  }
  return Percentile(seconds, 0.5);
}

// A daemon in a scratch directory of its own, without workers.
class Service {
 public:
  Service() {
    const char* source = std::getenv("QUANTD_SOURCE_DIR");
    const std::filesystem::path root = source != nullptr ? source : std::filesystem::current_path();
    const std::filesystem::path bin = ExecutableDirectory();
    // Beside the build, not in /tmp: that may be memory, where an fsync costs nothing.
    folder_ = bin / absl::StrCat("bench-", getpid());
    ServerConfig config;
    config.data_dir = (folder_ / "data").string();
    config.listen = config.http_listen = "127.0.0.1:0";
    config.model_root = (root / "data/models").string();
    config.data_root = (root / "data").string();
    daemon_ = Daemon::Start(config, bin.string(), {.clock = RealClock(), .runner = RealCommandRunner()}).value();
    channel_ = grpc::CreateChannel(daemon_->grpc_address(), grpc::InsecureChannelCredentials());
    stub_ = v1::QuantService::NewStub(channel_);
  }
  ~Service() {
    daemon_->Shutdown([](absl::Duration) {});
    std::filesystem::remove_all(folder_);
  }

  void Submit() {
    v1::SubmitQuantJobRequest request;
    request.mutable_spec()->set_model("quantd-tiny-llama");
    request.mutable_spec()->mutable_recipe()->set_preset("rtn");
    grpc::ClientContext context;
    v1::SubmitQuantJobResponse response;
    const grpc::Status status = stub_->SubmitQuantJob(&context, request, &response);
    if (!status.ok()) throw std::runtime_error(status.error_message());
  }

  // grpc.health.v1.Health/Check of the whole server; an empty message is its request.
  void EmptyCall() {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice nothing;
    const grpc::ByteBuffer request(&nothing, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    const auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    if (!status.ok()) throw std::runtime_error(status.error_message());
  }

  double FsyncSeconds() const {
    const int file = open((folder_ / "fsync").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    const std::string page(4096, 'x');
    const double seconds = MedianSeconds(50, [&] {
      if (write(file, page.data(), page.size()) < 0 || fsync(file) != 0) throw std::runtime_error("fsync failed");
    });
    close(file);
    return seconds;
  }

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  std::filesystem::path folder_;
  std::unique_ptr<Daemon> daemon_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::QuantService::Stub> stub_;
};

// Takes every assignment, tells when, and gives the job up, so that its slot is free for the next.
class WaitingWorker {
 public:
  explicit WaitingWorker(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::WorkerService::NewStub(channel)), thread_([this] { Run(); }) {}
  ~WaitingWorker() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
      if (call_ != nullptr) call_->TryCancel();
    }
    thread_.join();
  }

  SteadyTime NextAssignment() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return assigned_; });
    assigned_ = false;
    return assigned_at_;
  }

 private:
  void Run() {
    v1::SynchronizeRequest request;
    request.set_worker_id("bench");
    request.set_incarnation("1");
    request.mutable_capabilities()->add_devices("cpu");
    request.set_slots(1);
    request.set_poll_ms(5000);
    while (Synchronize(&request)) {
    }
  }

  bool Synchronize(v1::SynchronizeRequest* request) {
    grpc::ClientContext context;
    {
      const std::scoped_lock lock(mutex_);
      if (stopping_) return false;
      call_ = &context;
    }
    v1::SynchronizeResponse response;
    const grpc::Status status = stub_->Synchronize(&context, *request, &response);
    const std::scoped_lock lock(mutex_);
    call_ = nullptr;
    if (!status.ok()) return false;
    request->clear_finished();
    for (const v1::Assignment& assignment : response.assignments()) {
      v1::FinishedJob* finished = request->add_finished();
      finished->set_job(assignment.job());
      finished->set_fence(assignment.fence());
      finished->set_outcome(v1::FinishedJob::OUTCOME_FAILED);
      finished->mutable_error()->set_reason("BENCHMARK");
      assigned_at_ = std::chrono::steady_clock::now();
      assigned_ = true;
    }
    changed_.notify_all();
    return true;
  }

  std::unique_ptr<v1::WorkerService::Stub> stub_;
  std::mutex mutex_;
  std::condition_variable changed_;
  grpc::ClientContext* call_ = nullptr;
  bool stopping_ = false;
  bool assigned_ = false;
  SteadyTime assigned_at_;
  std::thread thread_;
};

// Median and tail of `seconds`, and the median as a multiple of one fsync and one empty call.
void Report(benchmark::State& state, Service& service, const std::vector<double>& seconds) {
  const double fsync_seconds = service.FsyncSeconds();
  const double empty_call_seconds = MedianSeconds(200, [&] { service.EmptyCall(); });
  const double median = Percentile(seconds, 0.5);
  state.counters["median_seconds"] = median;
  state.counters["p99_seconds"] = Percentile(seconds, 0.99);
  state.counters["fsync_seconds"] = fsync_seconds;
  state.counters["empty_call_seconds"] = empty_call_seconds;
  state.counters["times_fsync_and_empty_call"] = median / (fsync_seconds + empty_call_seconds);
}

void BM_Submit(benchmark::State& state) {
  Service service;
  service.Submit();  // fills the planner's memory of this spec
  std::vector<double> all;
  for (auto _ : state) {
    const SteadyTime begin = std::chrono::steady_clock::now();
    service.Submit();
    all.push_back(SecondsSince(begin));
    state.SetIterationTime(all.back());
  }
  Report(state, service, all);
}

void BM_QueueToStart(benchmark::State& state) {
  Service service;
  WaitingWorker worker(service.channel());
  service.Submit();
  worker.NextAssignment();
  std::vector<double> all;
  for (auto _ : state) {
    // The worker records the end of the last job and waits again.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const SteadyTime begin = std::chrono::steady_clock::now();
    service.Submit();
    all.push_back(std::chrono::duration<double>(worker.NextAssignment() - begin).count());
    state.SetIterationTime(all.back());
  }
  Report(state, service, all);
}

BENCHMARK(BM_Submit)->Iterations(300)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_QueueToStart)->Iterations(100)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantd::bench
