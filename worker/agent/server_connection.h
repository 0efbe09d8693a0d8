// The worker's line to the server: the calls of WorkerService as functions that return statuses.
//
// A broken connection is made anew by the next call. Every call has a deadline and can be given up from another thread
// through a stop token; it then returns CANCELLED. Errors are those of FromRpc. Thread-safe.
#ifndef QUANTD_WORKER_AGENT_SERVER_CONNECTION_H_
#define QUANTD_WORKER_AGENT_SERVER_CONNECTION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

struct CallLimits {
  absl::Duration deadline = absl::Seconds(10);
  std::stop_token stop = {};
};

class ServerConnection {
 public:
  // The next bytes of a file, at most 1 MiB, valid until the next call; empty at its end.
  using ChunkReader = std::function<absl::StatusOr<absl::string_view>()>;

  // `addresses`: "host:port", or several, separated by commas, of servers with one queue: one of them is used at a
  // time, at first any. Nothing is sent before the first call.
  explicit ServerConnection(const std::string& addresses);
  ~ServerConnection();

  // Of the server in use.
  std::string address() const;

  absl::StatusOr<v1::SynchronizeResponse> Synchronize(const v1::SynchronizeRequest& request, const CallLimits& limits);
  absl::StatusOr<int64_t> GetUploadOffset(const v1::GetUploadOffsetRequest& request, const CallLimits& limits);
  // Sends the header and all chunks; the number of bytes the server has in all. An error of `read` ends the call and is
  // returned.
  absl::StatusOr<int64_t> Upload(const v1::UploadArtifactRequest::Header& header, const ChunkReader& read,
                                 const CallLimits& limits);

  absl::StatusOr<std::vector<std::string>> CheckpointFilesMissing(const v1::CommitCheckpointRequest& request,
                                                                  const CallLimits& limits);
  absl::Status CommitCheckpoint(const v1::CommitCheckpointRequest& request, const CallLimits& limits);
  // Hands each chunk of the file to `sink`, in order; an error of it ends the call and is returned.
  absl::Status DownloadCheckpoint(const v1::DownloadCheckpointRequest& request,
                                  const std::function<absl::Status(absl::string_view)>& sink, const CallLimits& limits);

  // Drops the connection, for one that is open but has gone silent, and goes to the next server. Calls under way keep
  // the old one.
  void Reconnect();
  // The same, if there is another server.
  void TryNextServer();

 private:
  struct Transport;
  std::shared_ptr<Transport> transport() const;

  const std::vector<std::string> addresses_;
  struct Shared;
  const std::unique_ptr<Shared> shared_;
};

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_SERVER_CONNECTION_H_
