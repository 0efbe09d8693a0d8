// Load on a running quantd, for scripts/bench-service. One section a call, its figures as one JSON object:
//   service_load fsync FOLDER SECONDS               4 KiB appended and synced, one after the other
//   service_load echo SERVER CLIENTS SECONDS        an empty call (health check)
//   service_load submit SERVER CLIENTS SECONDS N    SubmitQuantJob with a fresh request_id each, at most N
//   service_load dispatch SERVER COUNT              from the call of Submit until a waiting worker holds the job
//   service_load watch SERVER COUNT                 from a change until the last of COUNT watchers of a job has it
//   service_load list SERVER COUNT                  first pages, and pages far back
#include <fcntl.h>
#include <grpcpp/generic/generic_stub.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "absl/strings/str_format.h"
#include "quantd/v1/quant_service.grpc.pb.h"
#include "quantd/v1/worker_service.grpc.pb.h"
#include "tests/bench/load_generator.h"

namespace quantd::bench {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

void Require(const grpc::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.error_message());
}

std::string RandomUuid() {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  const uint64_t a = random(), b = random();
  return absl::StrFormat("%08x-%04x-4%03x-8%03x-%012x", a >> 32, (a >> 16) & 0xffff, a & 0xfff, (b >> 48) & 0xfff,
                         b & 0xffffffffffff);
}

v1::SubmitQuantJobRequest NewRequest() {
  v1::SubmitQuantJobRequest request;
  request.mutable_spec()->set_model("quantd-tiny-llama");
  request.mutable_spec()->mutable_recipe()->set_preset("rtn");
  request.set_request_id(RandomUuid());
  return request;
}

class Client {
 public:
  explicit Client(const std::string& server)
      : channel_(OwnChannel(server)), stub_(v1::QuantService::NewStub(channel_)) {}

  grpc::Status Submit(std::string* job = nullptr) {
    grpc::ClientContext context;
    v1::SubmitQuantJobResponse response;
    const grpc::Status status = stub_->SubmitQuantJob(&context, NewRequest(), &response);
    if (job != nullptr) *job = response.job().name();
    return status;
  }

  // grpc.health.v1.Health/Check of the whole server; an empty message is its request.
  grpc::Status Echo() {
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
    return status;
  }
  v1::QuantService::Stub& stub() { return *stub_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::QuantService::Stub> stub_;
};

Json Figures(const Load& load) {
  return {{"calls", load.seconds.size()},
          {"failed", load.failed},
          {"per_second", load.PerSecond()},
          {"p50_ms", Percentile(load.seconds, 0.5) * 1e3},
          {"p99_ms", Percentile(load.seconds, 0.99) * 1e3}};
}

std::vector<std::unique_ptr<Client>> Connect(const std::string& server, int count) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<Client>(server));
    Require(clients.back()->Echo());
  }
  return clients;
}

Json Fsync(const Arguments& arguments) {
  const std::string path = arguments[0] + "/fsync-probe";
  const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  const std::string page(4096, 'x');
  const Load load = RunLoad({.clients = 1, .seconds = std::stod(arguments[1])}, [&](int) {
    return write(file, page.data(), page.size()) == static_cast<ssize_t>(page.size()) && fdatasync(file) == 0;
  });
  close(file);
  unlink(path.c_str());
  return Figures(load);
}

Json Echo(const Arguments& arguments) {
  const int count = std::stoi(arguments[1]);
  const auto clients = Connect(arguments[0], count);
  return Figures(RunLoad({.clients = count, .seconds = std::stod(arguments[2])},
                         [&](int client) { return clients[static_cast<size_t>(client)]->Echo().ok(); }));
}

Json Submit(const Arguments& arguments) {
  const int count = std::stoi(arguments[1]);
  const auto clients = Connect(arguments[0], count);
  Require(clients[0]->Submit());  // the server keeps the check of this spec
  const LoadLimits limits = {count, std::stod(arguments[2]), std::stoll(arguments[3])};
  return Figures(RunLoad(limits, [&](int client) { return clients[static_cast<size_t>(client)]->Submit().ok(); }));
}

// Takes every assignment, says when, and gives the job up at once, so that its slot is free for the next.
class WaitingWorker {
 public:
  explicit WaitingWorker(const std::string& server)
      : stub_(v1::WorkerService::NewStub(OwnChannel(server))), thread_([this] { Run(); }) {}
  ~WaitingWorker() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
      if (call_ != nullptr) call_->TryCancel();
    }
    thread_.join();
  }

  // When `job` was assigned; blocks until it is.
  SteadyClock::time_point AssignedAt(const std::string& job) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return assigned_.count(job) != 0 || stopping_; });
    return assigned_[job];
  }

 private:
  void Run() {
    v1::SynchronizeRequest request;
    request.set_worker_id("load");
    request.set_incarnation(RandomUuid());
    request.mutable_capabilities()->add_devices("cpu");
    request.mutable_capabilities()->set_memory_bytes(int64_t{1} << 40);
    request.mutable_capabilities()->set_scratch_bytes(int64_t{1} << 40);
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
    stopping_ = stopping_ || !status.ok();
    request->clear_finished();
    for (const v1::Assignment& assignment : response.assignments()) {
      v1::FinishedJob* finished = request->add_finished();
      finished->set_job(assignment.job());
      finished->set_fence(assignment.fence());
      finished->set_outcome(v1::FinishedJob::OUTCOME_FAILED);
      finished->mutable_error()->set_reason("BENCHMARK");
      assigned_[assignment.job()] = SteadyClock::now();
    }
    changed_.notify_all();
    return !stopping_;
  }

  std::unique_ptr<v1::WorkerService::Stub> stub_;
  std::mutex mutex_;
  std::condition_variable changed_;
  grpc::ClientContext* call_ = nullptr;
  bool stopping_ = false;
  std::map<std::string, SteadyClock::time_point> assigned_;  // by id
  std::thread thread_;
};

Json Dispatch(const Arguments& arguments) {
  Client client(arguments[0]);
  WaitingWorker worker(arguments[0]);
  // The first job of a recipe and model is checked by a process of its own; that is no part of the dispatch.
  std::string first;
  Require(client.Submit(&first));
  (void)worker.AssignedAt(first.substr(first.rfind('/') + 1));
  Load load;
  const SteadyClock::time_point begin = SteadyClock::now();
  for (int i = 0; i < std::stoi(arguments[1]); ++i) {
    // The worker records the end of the last job and waits again.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::string job;
    const SteadyClock::time_point called = SteadyClock::now();
    Require(client.Submit(&job));
    const auto assigned = worker.AssignedAt(job.substr(job.rfind('/') + 1));
    load.seconds.push_back(std::chrono::duration<double>(assigned - called).count());
  }
  load.wall_seconds = SecondsSince(begin);
  return Figures(load);
}

// Watchers of one job, a thread each; tells when all have seen a revision.
class Watchers {
 public:
  Watchers(const std::string& server, std::string job, int count) : job_(std::move(job)), contexts_(count) {
    // A hundred streams a connection is the usual limit of HTTP/2.
    for (int i = 0; i < (count + 99) / 100; ++i) channels_.push_back(OwnChannel(server));
    for (int i = 0; i < count; ++i) threads_.emplace_back([this, i] { Run(i); });
  }
  ~Watchers() {
    for (grpc::ClientContext& context : contexts_) context.TryCancel();
    for (std::thread& thread : threads_) thread.join();
  }

  void AwaitMessages(int64_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return messages_ >= count || failed_ > 0; });
    if (failed_ > 0) throw std::runtime_error(failure_);
  }

 private:
  void Run(int index) {
    const auto stub = v1::QuantService::NewStub(channels_[static_cast<size_t>(index / 100)]);
    v1::WatchQuantJobRequest request;
    request.set_name(job_);
    const auto reader = stub->WatchQuantJob(&contexts_[static_cast<size_t>(index)], request);
    v1::WatchQuantJobResponse response;
    while (reader->Read(&response)) {
      const std::scoped_lock lock(mutex_);
      ++messages_;
      changed_.notify_all();
    }
    const grpc::Status status = reader->Finish();
    const std::scoped_lock lock(mutex_);
    if (status.ok() || status.error_code() == grpc::StatusCode::CANCELLED) return;
    ++failed_;
    failure_ = status.error_message();
    changed_.notify_all();
  }

  const std::string job_;
  std::vector<grpc::ClientContext> contexts_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t messages_ = 0;
  int64_t failed_ = 0;
  std::string failure_;
  std::vector<std::thread> threads_;
};

Json Watch(const Arguments& arguments) {
  const int count = std::stoi(arguments[1]);
  Client client(arguments[0]);
  std::string job;
  Require(client.Submit(&job));
  Watchers watchers(arguments[0], job, count);
  watchers.AwaitMessages(count);
  const SteadyClock::time_point begin = SteadyClock::now();
  grpc::ClientContext context;
  v1::CancelQuantJobRequest cancel;
  cancel.set_name(job);
  v1::QuantJob cancelled;
  Require(client.stub().CancelQuantJob(&context, cancel, &cancelled));
  watchers.AwaitMessages(2 * static_cast<int64_t>(count));
  const double seconds = SecondsSince(begin);
  return {{"watchers", count}, {"all_told_ms", seconds * 1e3}, {"per_second", count / seconds}};
}

double ListSeconds(Client& client, std::string* page_token) {
  grpc::ClientContext context;
  v1::ListQuantJobsRequest request;
  request.set_page_token(*page_token);
  v1::ListQuantJobsResponse response;
  const SteadyClock::time_point begin = SteadyClock::now();
  Require(client.stub().ListQuantJobs(&context, request, &response));
  *page_token = response.next_page_token();
  return SecondsSince(begin);
}

Json List(const Arguments& arguments) {
  Client client(arguments[0]);
  std::vector<double> first, later;
  std::string token;
  for (int i = 0; i < std::stoi(arguments[1]); ++i) {
    std::string newest;
    first.push_back(ListSeconds(client, &newest));
    later.push_back(ListSeconds(client, &token));
  }
  return {{"first_page_p50_ms", Percentile(first, 0.5) * 1e3},
          {"first_page_p99_ms", Percentile(first, 0.99) * 1e3},
          {"later_page_p50_ms", Percentile(later, 0.5) * 1e3},
          {"later_page_p99_ms", Percentile(later, 0.99) * 1e3}};
}

struct Section {
  const char* name;
  size_t arguments;
  Json (*run)(const Arguments&);
};
constexpr Section kSections[] = {{"fsync", 2, Fsync},       {"echo", 3, Echo},   {"submit", 4, Submit},
                                 {"dispatch", 2, Dispatch}, {"watch", 2, Watch}, {"list", 2, List}};

int Main(const Arguments& arguments) {
  for (const Section& section : kSections) {
    if (arguments.empty() || arguments[0] != section.name || arguments.size() != section.arguments + 1) continue;
    std::puts(section.run({arguments.begin() + 1, arguments.end()}).dump().c_str());
    return 0;
  }
  std::fputs("usage: service_load SECTION ARGUMENTS; scripts/bench-service runs it\n", stderr);
  return 2;
}

}  // namespace
}  // namespace quantd::bench

int main(int argc, char** argv) {
  try {
    return quantd::bench::Main({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "service_load: %s\n", error.what());
    return 1;
  }
}
