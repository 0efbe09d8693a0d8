// Clients and workers call one daemon at the same time; what they were answered must be what some order of the calls
// would have given (job_history.h).
//
// QUANTD_LINEARIZABILITY_SEEDS=500 runs so many seeds instead of 20. A seed chooses who does what; how the calls
// interleave is the machine's choice, so that a seed run again is another history of the same kind.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/fail_point.h"
#include "server/errors/rpc_status.h"
#include "tests/server/daemon_fixture.h"
#include "tests/server/job_history.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

using Kind = Operation::Kind;
using Answer = Operation::Answer;
using v1::FinishedJob;
using v1::QuantJob;

constexpr int kDefaultSeeds = 20;
constexpr int kClients = 3;
constexpr int kWorkers = 2;
constexpr int kCallsEach = 60;
// Calls that a history must have each second, so that it cannot be right by being empty. A call is one commit and one
// round trip: hundreds a second on an idle machine, under a sanitizer too.
constexpr double kLeastCallsPerSecond = 20;
constexpr size_t kLeastOverlaps = 20;

// How often each call is made, relative to the others.
struct Mix {
  const char* name;
  int submit, repeat_submit, get, list, cancel, remove, take_back, expire;
  const char* fail_points;
};
constexpr Mix kMixes[] = {
    {"everything", 4, 2, 4, 1, 3, 2, 1, 0, ""},
    {"cancel against result", 3, 0, 2, 0, 8, 0, 0, 0, ""},
    {"delete against undelete", 2, 0, 2, 1, 3, 6, 6, 0, ""},
    {"one request id many times", 1, 8, 2, 1, 1, 0, 0, 0, ""},
    {"leases expire", 4, 1, 3, 1, 2, 1, 0, 1, ""},
    {"answers get lost", 4, 4, 3, 1, 4, 1, 1, 0,
     "submit.commit.after=error@3;cancel.commit.after=error@2;claim.commit.after=error@4;"
     "publish.commit.after=error@1;fail.commit.after=error@1;requeue.commit.after=error@2"},
};

// Runs that once showed a mistake of the server, or of the checker, by the name of what went wrong. They are run each
// time beside the others.
struct TrackRecord {
  const char* name;
  uint32_t seed;
};
constexpr TrackRecord kTrackRecord[] = {
    {"the recorder took a result for unsaid that the answer did not mention, though its commit was done", 5},
};

struct Job {
  std::string key;   // its request id
  std::string name;  // empty until an answer said it
};

// What everybody knows and writes down.
class World {
 public:
  int64_t Tick() { return ++ticks_; }

  void Add(const std::string& key, Operation operation) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++calls_;
    histories_[key].push_back(std::move(operation));
  }
  void AddList(int64_t begin, int64_t end, bool show_deleted, const v1::ListQuantJobsResponse& page) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++calls_;
    lists_.push_back({begin, end, show_deleted, page});
  }
  void AddExpiry(int64_t begin) {
    const std::lock_guard<std::mutex> lock(mutex_);
    expiries_.push_back(begin);
  }

  void Submitted(const std::string& key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back({key, ""});
  }
  void Named(const std::string& key, const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Job& job : jobs_) {
      if (job.key == key) job.name = name;
    }
    keys_[name] = key;
  }
  // "" while no answer has named the job.
  std::string KeyOf(const std::string& name) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = keys_.find(name);
    return found == keys_.end() ? "" : found->second;
  }
  // One of the last few, so that calls meet; empty while there is none.
  Job Recent(std::minstd_rand& random, bool with_name) const {
    constexpr size_t kFew = 4;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (jobs_.empty()) return {};
    const size_t back = 1 + random() % std::min(kFew, jobs_.size());
    const Job& job = jobs_[jobs_.size() - back];
    return with_name && job.name.empty() ? Job() : job;
  }
  std::vector<Job> jobs() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return jobs_;
  }
  int64_t calls() const { return calls_; }

  // By job, with the rows of lists and the expiries as operations of their own.
  std::map<std::string, JobHistory> Histories() const {
    std::map<std::string, JobHistory> histories = histories_;
    for (const Listed& list : lists_) Spread(list, histories);
    for (auto& [key, history] : histories) {
      for (const int64_t begin : expiries_) {
        Operation lost;
        lost.kind = Kind::kLose;
        lost.begin = begin;
        lost.answer = Answer::kNone;
        history.push_back(lost);
      }
    }
    return histories;
  }

 private:
  struct Listed {
    int64_t begin;
    int64_t end;
    bool show_deleted;
    v1::ListQuantJobsResponse page;
  };

  void Spread(const Listed& list, std::map<std::string, JobHistory>& histories) const {
    std::map<std::string, const QuantJob*> shown;
    for (const QuantJob& job : list.page.jobs()) {
      EXPECT_EQ(keys_.count(job.name()), 1u) << job.name() << " was never submitted";
      EXPECT_TRUE(shown.emplace(job.name(), &job).second) << job.name() << " is listed twice";
    }
    for (const Job& job : jobs_) {
      Operation row;
      row.begin = list.begin;
      row.end = list.end;
      const auto found = shown.find(job.name);
      row.kind = found == shown.end() ? Kind::kAbsent : Kind::kRead;
      row.hides_deleted = !list.show_deleted;
      if (found != shown.end()) row.seen = Seen(*found->second);
      histories[job.key].push_back(row);
    }
  }

  std::atomic<int64_t> ticks_{0};
  std::atomic<int64_t> calls_{0};
  mutable std::mutex mutex_;
  std::vector<Job> jobs_;
  std::map<std::string, std::string> keys_;  // by name
  std::map<std::string, JobHistory> histories_;
  std::vector<Listed> lists_;
  std::vector<int64_t> expiries_;
};

std::string RandomUuid(std::minstd_rand& random) {
  return absl::StrFormat("%08x-0000-4000-8000-%012x", random(), random());
}

class LinearizabilityTest : public DaemonTest, public testing::WithParamInterface<uint32_t> {
 protected:
  void SetUp() override {
    config_.max_queued_jobs = 0;
    Start();
  }
  void TearDown() override { EXPECT_OK(SetFailPoints("")); }

  // A call of a client whose answer is a job.
  template <typename Request>
  void CallOn(World& world, int client, Kind kind, const Job& job, Request request,
              grpc::Status (v1::QuantService::Stub::*method)(grpc::ClientContext*, const Request&, QuantJob*)) {
    if (job.name.empty()) return;
    request.set_name(job.name);
    Operation operation;
    operation.kind = kind;
    operation.client = client;
    operation.begin = world.Tick();
    grpc::ClientContext context;
    QuantJob answer;
    const absl::Status status = FromRpcStatus(((*quant_).*method)(&context, request, &answer));
    operation.end = world.Tick();
    operation.seen = Seen(answer);
    Settle(status, operation);
    world.Add(job.key, operation);
  }

  // Refused as it may be, or without an answer when the commit's was lost.
  static void Settle(const absl::Status& status, Operation& operation) {
    if (status.ok()) return;
    if (ReasonOf(status) == "FAIL_POINT") {
      operation.answer = Answer::kNone;
      operation.end = kNever;
      return;
    }
    operation.answer = Answer::kRefused;
    const std::set<std::string> expected = {"JOB_NOT_FINISHED", "JOB_NOT_DELETED"};
    EXPECT_EQ(expected.count(ReasonOf(status)), 1u) << status;
  }

  void SubmitOne(World& world, int client, const std::string& key) {
    Operation operation;
    operation.kind = Kind::kSubmit;
    operation.client = client;
    operation.begin = world.Tick();
    const auto response = Submit(GoodRequest(key));
    operation.end = world.Tick();
    Settle(response.status(), operation);
    if (response.ok()) {
      operation.name = response->job().name();
      operation.duplicate = response->duplicate();
      operation.seen = Seen(response->job());
      world.Named(key, operation.name);
    }
    world.Add(key, operation);
  }

  void ListOnce(World& world, bool show_deleted) {
    v1::ListQuantJobsRequest request;
    request.set_page_size(1000);
    request.set_show_deleted(show_deleted);
    const int64_t begin = world.Tick();
    const auto page = List(request);
    ASSERT_OK(page);
    world.AddList(begin, world.Tick(), show_deleted, *page);
  }

  void ExpireLeases(World& world) {
    const int64_t begin = world.Tick();
    clock_.Advance(absl::Milliseconds(config_.lease_ms + 1));
    world.AddExpiry(begin);
  }

  void BeClient(World& world, const Mix& mix, int client, uint32_t seed);
  // What happened, by the id of the job: its name may become known only later.
  using WorkerRecord = std::vector<std::pair<std::string, Operation>>;
  WorkerRecord BeWorker(World& world, int number, uint32_t seed);
  void CheckAll(const World& world);
};

void LinearizabilityTest::BeClient(World& world, const Mix& mix, int client, uint32_t seed) {
  std::minstd_rand random(seed * 101 + static_cast<uint32_t>(client));
  std::discrete_distribution<int> choose({static_cast<double>(mix.submit), static_cast<double>(mix.repeat_submit),
                                          static_cast<double>(mix.get), static_cast<double>(mix.list),
                                          static_cast<double>(mix.cancel), static_cast<double>(mix.remove),
                                          static_cast<double>(mix.take_back), static_cast<double>(mix.expire) / 4});
  using Stub = v1::QuantService::Stub;
  for (int call = 0; call < kCallsEach; ++call) {
    const int choice = choose(random);
    const Job job = world.Recent(random, /*with_name=*/choice > 1);
    if (choice == 0) {
      const std::string key = RandomUuid(random);
      world.Submitted(key);
      SubmitOne(world, client, key);
    } else if (choice == 1) {
      if (!job.key.empty()) SubmitOne(world, client, job.key);
    } else if (choice == 2) {
      CallOn(world, client, Kind::kRead, job, v1::GetQuantJobRequest(), &Stub::GetQuantJob);
    } else if (choice == 3) {
      ListOnce(world, /*show_deleted=*/random() % 2 == 0);
    } else if (choice == 4) {
      CallOn(world, client, Kind::kCancel, job, v1::CancelQuantJobRequest(), &Stub::CancelQuantJob);
    } else if (choice == 5) {
      CallOn(world, client, Kind::kDelete, job, v1::DeleteQuantJobRequest(), &Stub::DeleteQuantJob);
    } else if (choice == 6) {
      CallOn(world, client, Kind::kUndelete, job, v1::UndeleteQuantJobRequest(), &Stub::UndeleteQuantJob);
    } else {
      ExpireLeases(world);
    }
  }
}

// One slot. Reports what it has until that is acknowledged, as a real worker does.
class FakeWorker {
 public:
  FakeWorker(World& world, int number, uint32_t seed) : world_(world), number_(number), random_(seed) {}

  v1::SynchronizeRequest NextRequest() {
    v1::SynchronizeRequest request;
    request.set_worker_id(absl::StrCat("w", number_));
    request.set_incarnation("first");
    request.mutable_capabilities()->add_devices("cpu");
    request.set_slots(1);
    if (held_.has_value() && !finished_.has_value() && random_() % 4 > 0) Finish();
    if (finished_.has_value()) {
      *request.add_finished() = *finished_;
    } else if (held_.has_value()) {
      v1::RunningJob* running = request.add_running();
      running->set_job(held_->job());
      running->set_fence(held_->fence());
    }
    begin_ = world_.Tick();
    if (claim_begin_ == 0) claim_begin_ = begin_;
    return request;
  }

  // The job whose files must be there before the next call; none when it did not succeed.
  const v1::Assignment* uploads() const {
    const bool succeeds = finished_.has_value() && finished_->outcome() == FinishedJob::OUTCOME_SUCCEEDED;
    return succeeds && !uploaded_ ? &*held_ : nullptr;
  }
  void Uploaded(const v1::Artifact& artifact) {
    *finished_->mutable_artifact() = artifact;
    uploaded_ = true;
  }

  void Take(const absl::StatusOr<v1::SynchronizeResponse>& response) {
    const int64_t end = world_.Tick();
    if (!response.ok()) {
      EXPECT_EQ(ReasonOf(response.status()), "FAIL_POINT") << response.status();
      if (finished_.has_value()) Record(Answer::kNone, kNever);
      return;
    }
    for (const v1::JobFence& done : response->acknowledged()) End(done, Answer::kOk, end);
    for (const v1::JobFence& stale : response->stale()) End(stale, Answer::kRefused, end);
    // A result that the answer does not mention could not be recorded for certain; it is reported again, after a pause.
    if (finished_.has_value()) {
      Record(Answer::kNone, kNever);
      absl::SleepFor(absl::Milliseconds(1));
    }
    for (const v1::JobFence& cancel : response->cancel()) {
      if (!held_.has_value()) StartUnseen(cancel, end);
      if (held_.has_value() && cancel.job() == held_->job() && !finished_.has_value()) {
        Finish();
        finished_->set_outcome(FinishedJob::OUTCOME_CANCELLED);
      }
    }
    for (const v1::Assignment& assignment : response->assignments()) Start(assignment, end);
    claim_begin_ = 0;
  }

  bool idle() const { return !held_.has_value(); }

 private:
  void Finish() {
    static constexpr FinishedJob::Outcome kOutcomes[] = {FinishedJob::OUTCOME_SUCCEEDED, FinishedJob::OUTCOME_FAILED,
                                                         FinishedJob::OUTCOME_RETURNED};
    finished_.emplace();
    finished_->set_job(held_->job());
    finished_->set_fence(held_->fence());
    finished_->set_outcome(kOutcomes[random_() % 3]);
    uploaded_ = false;
    unanswered_ = false;
  }

  // Of several reports without an answer the first stands for all: whichever took effect, the others then change
  // nothing.
  void Record(Answer answer, int64_t end) {
    if (answer == Answer::kNone && std::exchange(unanswered_, true)) return;
    Operation operation;
    operation.kind = Kind::kFinish;
    operation.client = 100 + number_;
    operation.begin = begin_;
    operation.end = end;
    operation.answer = answer;
    operation.fence = finished_->fence();
    operation.outcome = finished_->outcome();
    ends_.push_back({finished_->job(), operation});
  }

  // Of a lease that is gone nothing is said about a result that was not reported.
  void End(const v1::JobFence& which, Answer answer, int64_t end) {
    if (!held_.has_value() || which.job() != held_->job() || which.fence() != held_->fence()) return;
    if (finished_.has_value()) Record(answer, end);
    finished_.reset();
    held_.reset();
  }

  void Start(const v1::Assignment& assignment, int64_t end) {
    Operation operation;
    operation.kind = Kind::kClaim;
    operation.client = 100 + number_;
    operation.begin = claim_begin_;
    operation.end = end;
    operation.fence = assignment.fence();
    operation.seen.attempt = assignment.attempt();
    ends_.push_back({assignment.job(), operation});
    if (!held_.has_value()) held_ = assignment;
  }

  // A job whose assignment was lost with its answer, and which is cancelled before that was repeated.
  void StartUnseen(const v1::JobFence& which, int64_t end) {
    v1::Assignment assignment;
    assignment.set_job(which.job());
    assignment.set_fence(which.fence());
    Start(assignment, end);
  }

 public:
  std::vector<std::pair<std::string, Operation>> TakeRecord() { return std::move(ends_); }

 private:
  World& world_;
  const int number_;
  std::minstd_rand random_;
  int64_t begin_ = 0;
  int64_t claim_begin_ = 0;  // of the first call since the last answer: its assignment may come with a later one
  std::optional<v1::Assignment> held_;
  std::optional<FinishedJob> finished_;
  bool uploaded_ = false;
  bool unanswered_ = false;  // a report of this result got no answer
  std::vector<std::pair<std::string, Operation>> ends_;
};

LinearizabilityTest::WorkerRecord LinearizabilityTest::BeWorker(World& world, int number, uint32_t seed) {
  FakeWorker worker(world, number, seed * 211 + static_cast<uint32_t>(number));
  for (int call = 0; call < kCallsEach || !worker.idle(); ++call) {
    if (call >= 100 * kCallsEach) {
      ADD_FAILURE() << "the worker's job comes to no end";
      break;
    }
    v1::SynchronizeRequest request = worker.NextRequest();
    if (call >= kCallsEach) request.set_draining(true);
    if (const v1::Assignment* job = worker.uploads(); job != nullptr) {
      const SmallArtifact small(job->job());
      bool whole = true;
      for (int i = 0; i < small.artifact.files_size(); ++i) {
        whole &= Upload(*job, small.artifact.files(i), small.contents[static_cast<size_t>(i)]).ok();
      }
      worker.Uploaded(small.artifact);
      if (request.finished_size() > 0) *request.mutable_finished(0)->mutable_artifact() = small.artifact;
      // Without its files, because the lease was lost meanwhile, the result can only be refused.
      if (!whole) request.mutable_finished(0)->set_outcome(FinishedJob::OUTCOME_SUCCEEDED);
    }
    worker.Take(Synchronize(request));
  }
  return worker.TakeRecord();
}

size_t Overlaps(const JobHistory& history) {
  size_t overlaps = 0;
  for (const Operation& a : history) {
    for (const Operation& b : history) overlaps += a.begin < b.begin && b.begin < a.end && a.end != kNever ? 1 : 0;
  }
  return overlaps;
}

void LinearizabilityTest::CheckAll(const World& world) {
  size_t overlaps = 0;
  for (const auto& [key, history] : world.Histories()) {
    EXPECT_OK(CheckJobHistory(history)) << key;
    EXPECT_OK(CheckRevisions(history)) << key;
    overlaps += Overlaps(history);
  }
  EXPECT_GE(overlaps, kLeastOverlaps) << "the calls hardly met";
}

TEST_P(LinearizabilityTest, SomeOrderExplainsEveryAnswer) {
  const uint32_t seed = GetParam();
  const Mix& mix = kMixes[seed % std::size(kMixes)];
  SCOPED_TRACE(mix.name);
  ASSERT_OK(SetFailPoints(mix.fail_points));
  World world;
  const absl::Time begin = absl::Now();
  std::vector<std::thread> threads;
  for (int i = 0; i < kClients; ++i) threads.emplace_back([&, i] { BeClient(world, mix, i, seed); });
  std::vector<WorkerRecord> records(kWorkers);
  std::vector<std::thread> workers;
  for (int i = 0; i < kWorkers; ++i) {
    workers.emplace_back([&, i] { records[static_cast<size_t>(i)] = BeWorker(world, i, seed); });
  }
  for (std::thread& thread : threads) thread.join();
  // Answers that were lost are asked for again, so that every job has a name under which to file the workers' records.
  ASSERT_OK(SetFailPoints(""));
  for (const Job& job : world.jobs()) {
    if (job.name.empty()) SubmitOne(world, /*client=*/99, job.key);
  }
  for (std::thread& worker : workers) worker.join();
  for (WorkerRecord& record : records) {
    for (auto& [id, operation] : record) world.Add(world.KeyOf(JobName(kDefaultTenant, id)), std::move(operation));
  }
  ListOnce(world, /*show_deleted=*/true);
  const double rate = static_cast<double>(world.calls()) / absl::ToDoubleSeconds(absl::Now() - begin);
  CheckAll(world);
  EXPECT_GE(world.calls(), kClients * kCallsEach / 2);
  EXPECT_GE(rate, kLeastCallsPerSecond);
}

std::vector<uint32_t> Seeds() {
  int count = kDefaultSeeds;
  if (const char* text = std::getenv("QUANTD_LINEARIZABILITY_SEEDS"); text != nullptr) {
    (void)absl::SimpleAtoi(text, &count);
  }
  std::vector<uint32_t> seeds;
  for (int seed = 0; seed < std::max(count, 1); ++seed) seeds.push_back(static_cast<uint32_t>(seed));
  for (const TrackRecord& row : kTrackRecord) {
    if (row.seed >= seeds.size()) seeds.push_back(row.seed);
  }
  return seeds;
}
INSTANTIATE_TEST_SUITE_P(Seeds, LinearizabilityTest, testing::ValuesIn(Seeds()));

}  // namespace
}  // namespace quantd
