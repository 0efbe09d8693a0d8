// gRPC statuses of the server as absl::Status, with the reason of google.rpc.ErrorInfo (ReasonOf).
#ifndef QUANTD_WORKER_AGENT_RPC_STATUS_H_
#define QUANTD_WORKER_AGENT_RPC_STATUS_H_

#include "absl/status/status.h"

namespace grpc {
class Status;
}

namespace quantd {

// The reason is "" when the server attached none, as for errors that gRPC itself makes.
absl::Status FromRpc(const grpc::Status& status);

// The server says that the lease is somebody else's: the job is to be dropped without a report. (Of a job that is being
// cancelled it takes uploads until the worker, which Synchronize tells to stop, says that the child is gone.)
bool IsStaleLease(const absl::Status& status);

// Worth another try with the same request: the connection broke, the server restarts or is out of threads, or it did
// not answer in time.
bool IsTransient(const absl::Status& status);

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_RPC_STATUS_H_
