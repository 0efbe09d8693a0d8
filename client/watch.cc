// QuantdClient::Watch: one stream after another until the job is terminal.
#include <google/protobuf/util/message_differencer.h>

#include "client/connection.h"
#include "client/quantd_client.h"
#include "client/reconnect.h"
#include "core/base/status.h"
#include "proto/job_state.h"

namespace quantd {
namespace {

using OnChange = std::function<void(const v1::QuantJob&)>;
using GetJob = std::function<absl::StatusOr<v1::QuantJob>()>;

class Watcher {
 public:
  Watcher(v1::QuantService::StubInterface& stub, std::string server, const WatchOptions& options)
      : stub_(stub), server_(std::move(server)), reconnect_(options.longest_outage) {
    request_.set_from_revision(options.from_revision);
  }

  absl::StatusOr<v1::QuantJob> Run(const std::string& name, const GetJob& get, const OnChange& on_change) {
    request_.set_name(name);
    on_change_ = on_change;
    for (;;) {
      const absl::Status status = ReadStream();
      if (status.ok() && !IsTerminal(job_.state())) LookOnce(get);
      if (IsTerminal(job_.state())) return job_;
      if (!reconnect_.WaitAfter(status)) return status.ok() ? EndedEarly() : status;
    }
  }

 private:
  absl::Status ReadStream() {
    grpc::ClientContext context;
    const auto reader = stub_.WatchQuantJob(&context, request_);
    v1::WatchQuantJobResponse response;
    while (reader->Read(&response)) Take(response.job());
    return FromRpcStatus(reader->Finish(), server_);
  }

  // A stream that ended well had nothing to tell after the last revision: the job may have been terminal then already.
  void LookOnce(const GetJob& get) {
    const absl::StatusOr<v1::QuantJob> job = get();
    if (job.ok() && IsTerminal(job->state())) Take(*job);
  }

  // A resumed stream may begin with the state that is known already: that is no change.
  void Take(const v1::QuantJob& job) {
    reconnect_.Progress();
    if (job.revision() < request_.from_revision()) return;
    const bool known = google::protobuf::util::MessageDifferencer::Equals(job, job_);
    request_.set_from_revision(job.revision());
    job_ = job;
    if (!known && on_change_ != nullptr) on_change_(job_);
  }

  absl::Status EndedEarly() const {
    return ReasonError(absl::StatusCode::kUnavailable, "WATCH_ENDED_EARLY",
                       "quantd at " + server_ + " ended the watch of a job that is not finished");
  }

  v1::QuantService::StubInterface& stub_;
  std::string server_;
  Reconnect reconnect_;
  OnChange on_change_;
  v1::WatchQuantJobRequest request_;
  v1::QuantJob job_;
};

}  // namespace

absl::StatusOr<v1::QuantJob> QuantdClient::Watch(absl::string_view job, const WatchOptions& options,
                                                 const OnChange& on_change) {
  ASSIGN_OR_RETURN(const std::string name, ExpandJobName(job, connection_->tenant));
  return Watcher(*connection_->stub, connection_->server, options)
      .Run(
          name, [&] { return Get(name); }, on_change);
}

}  // namespace quantd
