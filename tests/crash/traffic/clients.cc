#include "tests/crash/traffic/clients.h"

#include <grpcpp/create_channel.h>

#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/request_id.h"
#include "client/rpc_status.h"
#include "core/base/status.h"

namespace quantd::crash {
namespace {

using std::chrono::milliseconds;
using v1::QuantJob;

constexpr milliseconds kCallLimit{2000};
constexpr milliseconds kPause{20};

// Kinds of jobs. The `quant` of the crash test looks at the label `kind`: "poison" dies, "slow" first waits, "overdue"
// waits until its run time is over. "impatient" is over when no worker takes it soon.
struct Kind {
  const char* name;
  const char* preset;
  int bits;
  int share;  // of 20
  bool may_fail;
  int64_t queue_timeout_ms = 0;
  int64_t run_timeout_ms = 0;
};
constexpr Kind kKinds[] = {{"four", "rtn", 4, 7, false},           {"calibrated", "gptq", 4, 5, false},
                           {"slow", "rtn", 2, 4, false},           {"poison", "rtn", 5, 1, true},
                           {"overdue", "rtn", 3, 2, true, 0, 200}, {"impatient", "rtn", 6, 1, true, 30, 0}};
constexpr int kShares = 20;
constexpr absl::string_view kPoison = "poison";

const Kind& RandomKind(std::mt19937_64& random) {
  int at = static_cast<int>(random() % kShares);
  for (const Kind& kind : kKinds) {
    if (at < kind.share) return kind;
    at -= kind.share;
  }
  return kKinds[0];
}

v1::SubmitQuantJobRequest RequestOf(const Kind& kind) {
  v1::SubmitQuantJobRequest request;
  request.set_request_id(NewRequestId());
  v1::QuantJobSpec& spec = *request.mutable_spec();
  spec.set_model("quantd-tiny-llama");
  spec.mutable_recipe()->set_preset(kind.preset);
  if (std::string(kind.preset) == "gptq") {
    spec.mutable_calibration()->set_file("books/calibration.txt");
    spec.mutable_calibration()->set_sequences(4);
    spec.mutable_calibration()->set_length(64);
  }
  (*spec.mutable_recipe()->mutable_overrides()->mutable_fields())["bits"].set_number_value(kind.bits);
  spec.set_queue_timeout_ms(kind.queue_timeout_ms);
  spec.set_run_timeout_ms(kind.run_timeout_ms);
  (*spec.mutable_labels())["kind"] = kind.name;
  (*spec.mutable_labels())["request"] = request.request_id();
  // Many of a job's attempts may be killed here; only the poisonous are to fail.
  spec.set_max_attempts(kind.name == kPoison ? 1 : 10);
  return request;
}

// A context with a deadline.
class Call {
 public:
  Call() { context_.set_deadline(std::chrono::system_clock::now() + kCallLimit); }
  grpc::ClientContext* operator&() { return &context_; }

 private:
  grpc::ClientContext context_;
};

std::shared_ptr<grpc::Channel> Connect(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  // In spite of its name also the time that one attempt to connect may take.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  return grpc::CreateCustomChannel(absl::StrCat("ipv4:", server), grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

Clients::Clients(const std::string& server) : stub_(v1::QuantService::NewStub(Connect(server))) {}

bool Clients::Note(const grpc::Status& status) {
  if (status.ok()) {
    ++operations_;
  } else {
    std::this_thread::sleep_for(kPause);
  }
  return status.ok();
}

grpc::Status Clients::Submit(const v1::SubmitQuantJobRequest& request, bool may_fail) {
  Call call;
  v1::SubmitQuantJobResponse response;
  const grpc::Status status = stub_->SubmitQuantJob(&call, request, &response);
  const auto& labels = request.spec().labels();
  if (Note(status)) ledger_.Accepted({labels.at("request"), labels.at("kind"), may_fail}, response.job().name());
  return status;
}

// Until it is answered: what becomes of a submission without an answer is unknown, and a client asks again.
void Clients::SubmitOne(std::mt19937_64& random) {
  const Kind& kind = RandomKind(random);
  v1::SubmitQuantJobRequest request = RequestOf(kind);
  if (random() % 4 == 0) {
    // Such a job can be purged at once, and its client must not ask twice.
    request.clear_request_id();
    (void)Submit(request, kind.may_fail);
    return;
  }
  while (true) {
    const grpc::Status status = Submit(request, kind.may_fail);
    if (status.ok()) break;
    const grpc::StatusCode code = status.error_code();
    if (code == grpc::UNAVAILABLE || code == grpc::DEADLINE_EXCEEDED || code == grpc::RESOURCE_EXHAUSTED) continue;
    ledger_.Problem(absl::StrCat("a good submission was refused: ", status.error_message()));
    return;
  }
  // A client that did not get the answer asks again although the server has given it.
  if (random() % 4 == 0) (void)Submit(request, kind.may_fail);
}

void Clients::Cancel(const std::string& name) {
  Call call;
  v1::CancelQuantJobRequest request;
  request.set_name(name);
  QuantJob job;
  if (!Note(stub_->CancelQuantJob(&call, request, &job))) return;
  if (job.state() == QuantJob::CANCELLED || job.state() == QuantJob::CANCELLING) ledger_.CancelAcknowledged(name);
  ledger_.Saw(job);
}

bool Clients::Delete(const std::string& name) {
  ledger_.DeleteTried(name);
  Call call;
  v1::DeleteQuantJobRequest request;
  request.set_name(name);
  QuantJob job;
  if (!Note(stub_->DeleteQuantJob(&call, request, &job))) return false;
  ledger_.Saw(job);
  return true;
}

bool Clients::Undelete(const std::string& name) {
  Call call;
  v1::UndeleteQuantJobRequest request;
  request.set_name(name);
  QuantJob job;
  if (!Note(stub_->UndeleteQuantJob(&call, request, &job))) return false;
  ledger_.Saw(job);
  return true;
}

// A deletion without an answer may come about even after the undeletion.
void Clients::DeleteForAWhile(const std::string& name, bool undelete) {
  const bool deleted = Delete(name);
  if (undelete && Undelete(name) && deleted) ledger_.UndeleteAcknowledged(name);
}

void Clients::Get(const std::string& name) {
  Call call;
  v1::GetQuantJobRequest request;
  request.set_name(name);
  QuantJob job;
  if (Note(stub_->GetQuantJob(&call, request, &job))) ledger_.Saw(job);
}

void Clients::ListNewest() {
  Call call;
  v1::ListQuantJobsRequest request;
  request.set_page_size(30);
  v1::ListQuantJobsResponse response;
  if (!Note(stub_->ListQuantJobs(&call, request, &response))) return;
  for (const QuantJob& job : response.jobs()) ledger_.Saw(job);
}

void Clients::ChangeSome(std::mt19937_64& random) {
  const auto live = ledger_.RandomJob(random, /*terminal=*/false);
  const auto ended = ledger_.RandomJob(random, /*terminal=*/true);
  switch (random() % 16) {
    case 0:
    case 1:
      if (live.has_value()) Cancel(*live);
      break;
    case 2:
    case 3:
      if (ended.has_value()) DeleteForAWhile(*ended, random() % 2 == 0);
      break;
    case 4:
    case 5:
      if (live.has_value()) Get(*live);
      break;
    default:
      ListNewest();
  }
}

void Clients::WatchOne(std::mt19937_64& random, const std::atomic<bool>& stop) {
  const auto name = ledger_.RandomJob(random, /*terminal=*/false);
  if (!name.has_value()) return;
  int64_t revision = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  while (!stop && std::chrono::steady_clock::now() < end) {
    Call call;
    v1::WatchQuantJobRequest request;
    request.set_name(*name);
    request.set_from_revision(revision);
    const auto stream = stub_->WatchQuantJob(&call, request);
    v1::WatchQuantJobResponse response;
    while (stream->Read(&response)) {
      const QuantJob& job = response.job();
      if (job.revision() <= revision) {
        ledger_.Problem(absl::StrCat("watch of ", *name, " went from revision ", revision, " to ", job.revision()));
      }
      revision = job.revision();
      ledger_.Saw(job);
      ++operations_;
      if (IsTerminal(job.state())) return;
    }
    const grpc::Status status = stream->Finish();
    if (ReasonOf(FromRpcStatus(status, "the server")) == "REVISION_COMPACTED") {
      revision = 0;
      continue;
    }
    if (status.error_code() == grpc::OUT_OF_RANGE) {
      // After a crash of the server that could only be a revision that it told and then lost.
      ledger_.Problem(absl::StrCat("watch of ", *name, " from revision ", revision, ": ", status.error_message()));
      return;
    }
    if (status.error_code() == grpc::NOT_FOUND) return;  // deleted meanwhile, or the final comparison finds it lost
    if (!status.ok()) std::this_thread::sleep_for(kPause);
  }
}

bool Clients::ListAll(std::vector<QuantJob>& jobs) {
  jobs.clear();
  v1::ListQuantJobsRequest request;
  request.set_page_size(1000);
  request.set_show_deleted(true);
  do {
    Call call;
    v1::ListQuantJobsResponse response;
    if (!Note(stub_->ListQuantJobs(&call, request, &response))) return false;
    std::move(response.mutable_jobs()->begin(), response.mutable_jobs()->end(), std::back_inserter(jobs));
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  for (const QuantJob& job : jobs) ledger_.Saw(job);
  return true;
}

}  // namespace quantd::crash
