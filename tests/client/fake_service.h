// A QuantService in this process that answers as a test tells it, and counts what it was asked.
#ifndef QUANTD_TESTS_CLIENT_FAKE_SERVICE_H_
#define QUANTD_TESTS_CLIENT_FAKE_SERVICE_H_

#include <grpcpp/server.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/quantd_client.h"
#include "quantd/v1/quant_service.grpc.pb.h"

namespace quantd {

// As the server sends them: code, ErrorInfo, and BadRequest when there is a field.
grpc::Status RichError(grpc::StatusCode code, const std::string& reason, const std::string& message,
                       const std::string& field = "");

// One answer of a stream: these messages, then this status.
struct WatchScript {
  std::vector<v1::QuantJob> jobs;
  grpc::Status end = grpc::Status::OK;
};

class FakeService final : public v1::QuantService::Service {
 public:
  // Before the calls of every unary method: the statuses to fail the next calls with.
  std::deque<grpc::Status> failures;
  std::map<std::string, v1::QuantJob> jobs;  // by full name
  v1::QuantReport report;
  v1::ListRecipesResponse recipes;
  std::deque<WatchScript> watches;              // one a call
  std::map<std::string, std::string> contents;  // artifact files by path
  int chunk_bytes = 4;
  // Bytes after which a download stream breaks with UNAVAILABLE, one a call; -1: not at all.
  std::deque<int64_t> download_breaks;
  bool damage_downloads = false;  // flips the first byte of each chunk

  std::vector<v1::SubmitQuantJobRequest> submitted;
  std::vector<v1::ListQuantJobsRequest> listed;
  std::vector<v1::WatchQuantJobRequest> watched;
  std::vector<v1::DownloadArtifactRequest> downloads;
  int calls = 0;

  // A SUCCEEDED job whose artifact is `contents` and a manifest that names them, both stored here.
  v1::QuantJob& AddFinishedJob(const std::string& name);

  grpc::Status SubmitQuantJob(grpc::ServerContext*, const v1::SubmitQuantJobRequest*,
                              v1::SubmitQuantJobResponse*) override;
  grpc::Status GetQuantJob(grpc::ServerContext*, const v1::GetQuantJobRequest*, v1::QuantJob*) override;
  grpc::Status ListQuantJobs(grpc::ServerContext*, const v1::ListQuantJobsRequest*,
                             v1::ListQuantJobsResponse*) override;
  grpc::Status CancelQuantJob(grpc::ServerContext*, const v1::CancelQuantJobRequest*, v1::QuantJob*) override;
  grpc::Status DeleteQuantJob(grpc::ServerContext*, const v1::DeleteQuantJobRequest*, v1::QuantJob*) override;
  grpc::Status UndeleteQuantJob(grpc::ServerContext*, const v1::UndeleteQuantJobRequest*, v1::QuantJob*) override;
  // One record for each job below the parent.
  grpc::Status ListAuditRecords(grpc::ServerContext*, const v1::ListAuditRecordsRequest*,
                                v1::ListAuditRecordsResponse*) override;
  grpc::Status WatchQuantJob(grpc::ServerContext*, const v1::WatchQuantJobRequest*,
                             grpc::ServerWriter<v1::WatchQuantJobResponse>*) override;
  grpc::Status GetQuantReport(grpc::ServerContext*, const v1::GetQuantReportRequest*, v1::QuantReport*) override;
  grpc::Status DownloadArtifact(grpc::ServerContext*, const v1::DownloadArtifactRequest*,
                                grpc::ServerWriter<v1::DownloadArtifactResponse>*) override;
  grpc::Status ListRecipes(grpc::ServerContext*, const v1::ListRecipesRequest*, v1::ListRecipesResponse*) override;

 private:
  // Counts the call; the next failure of the list, or OK.
  grpc::Status NextFailure();
  // Copies the job after `change`.
  grpc::Status Change(const std::string& name, const std::function<void(v1::QuantJob&)>& change, v1::QuantJob* job);
  grpc::Status SendFile(const v1::DownloadArtifactRequest& request, int64_t break_after,
                        grpc::ServerWriter<v1::DownloadArtifactResponse>* writer);

  std::mutex mutex_;  // one call at a time
};

// The service on a free loopback port.
class FakeServer {
 public:
  FakeServer();
  ~FakeServer();
  FakeService& service() { return service_; }
  const std::string& address() const { return address_; }
  QuantdClient Client() const;

 private:
  FakeService service_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

// A job in a state, with a revision.
v1::QuantJob JobAt(const std::string& name, v1::QuantJob::State state, int64_t revision);

}  // namespace quantd

#endif  // QUANTD_TESTS_CLIENT_FAKE_SERVICE_H_
