// The C++ client of quantd.
//
//   QuantdClient client({.server = "127.0.0.1:7433"});
//   v1::SubmitQuantJobRequest request;
//   request.mutable_spec()->set_model("quantd-tiny-llama");
//   request.mutable_spec()->mutable_recipe()->set_preset("gptq");
//   ASSIGN_OR_RETURN(const v1::SubmitQuantJobResponse submitted, client.Submit(request));
//   ASSIGN_OR_RETURN(const v1::QuantJob job, client.Watch(submitted.job().name(), {}, print_progress));
//   RETURN_IF_ERROR(client.Download(job, {.directory = "out"}));
//
// Jobs are given by full name or by id alone, which is then one of the client's tenant. Errors are those of the .proto
// files, as absl::Status with ReasonOf() and FieldOf() (rpc_status.h). Unary calls are retried on UNAVAILABLE
// (channel.h) within their deadline. Thread-safe; each stream runs in the calling thread.
#ifndef QUANTD_CLIENT_QUANTD_CLIENT_H_
#define QUANTD_CLIENT_QUANTD_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "quantd/v1/quant_service.pb.h"

namespace grpc {
class Channel;
}

namespace quantd {

struct ClientOptions {
  // host:port, or several separated by commas: servers of one queue, of which one that answers is used (channel.h).
  std::string server = "127.0.0.1:7433";
  // Whose jobs are meant where a job is given by its id alone, or a request has no parent.
  std::string tenant = "default";
  // Of one unary call with its retries. Submit reads the model's headers and may take seconds on a cold disk.
  absl::Duration timeout = absl::Seconds(30);
  // Instead of a new connection to `server`; `server` then only names it in messages.
  std::shared_ptr<grpc::Channel> channel = nullptr;
};

struct WatchOptions {
  // Changes up to this revision are known already; 0: begin with the current state.
  int64_t from_revision = 0;
  // How long the server may be away, counted from the last message, before Watch gives up.
  absl::Duration longest_outage = absl::Minutes(2);
};

struct DownloadProgress {
  std::string path;         // of the file within the artifact
  int64_t done_bytes = 0;   // of all files
  int64_t total_bytes = 0;  // of all files
};

struct DownloadOptions {
  std::string directory;  // created when absent
  // Called after each chunk and each file.
  std::function<void(const DownloadProgress&)> on_progress = nullptr;
};

class QuantdClient {
 public:
  explicit QuantdClient(ClientOptions options);
  ~QuantdClient();

  // An empty request_id is replaced by a fresh UUID, so that the retries cannot make two jobs.
  absl::StatusOr<v1::SubmitQuantJobResponse> Submit(v1::SubmitQuantJobRequest request);
  absl::StatusOr<v1::QuantJob> Get(absl::string_view job);
  absl::StatusOr<v1::ListQuantJobsResponse> ListPage(v1::ListQuantJobsRequest request);
  // Every page from `request` on; `on_job` returns false to stop.
  absl::Status ListAll(v1::ListQuantJobsRequest request, const std::function<bool(const v1::QuantJob&)>& on_job);
  absl::StatusOr<v1::QuantJob> Cancel(absl::string_view job);
  absl::StatusOr<v1::QuantJob> Delete(absl::string_view job);
  absl::StatusOr<v1::QuantJob> Undelete(absl::string_view job);
  // Who changed what, newest first; of the tenant, or of one job when `request.parent` names it.
  absl::StatusOr<v1::ListAuditRecordsResponse> AuditPage(v1::ListAuditRecordsRequest request);
  absl::StatusOr<v1::QuantReport> Report(absl::string_view job);
  absl::StatusOr<v1::ListRecipesResponse> Recipes();

  // Calls `on_change` with the current state and each later change, until the job is terminal, and returns that. When
  // the connection breaks it resumes after the last revision seen.
  absl::StatusOr<v1::QuantJob> Watch(absl::string_view job, const WatchOptions& options,
                                     const std::function<void(const v1::QuantJob&)>& on_change);

  // Every file of the artifact of `job` (as Get or Watch returned it) into a directory; manifest.json comes last, so
  // that a folder that has one is complete. A file is written as NAME.part, resumed where an earlier run stopped,
  // compared with its digest and only then renamed; files that are there already with the right digest are not fetched
  // again. FAILED_PRECONDITION JOB_NOT_FINISHED; DATA_LOSS DIGEST_MISMATCH, ARTIFACT_PATH_INVALID; errors of the local
  // disk.
  absl::Status Download(const v1::QuantJob& job, const DownloadOptions& options);

  // One file of the artifact of `job` to `destination`, in the same way.
  absl::Status DownloadFile(const v1::QuantJob& job, const std::string& path, const std::string& destination);

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace quantd

#endif  // QUANTD_CLIENT_QUANTD_CLIENT_H_
