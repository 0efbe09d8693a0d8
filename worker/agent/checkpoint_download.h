// Fetches the checkpoint that another attempt left, so that this one goes on from it.
#ifndef QUANTD_WORKER_AGENT_CHECKPOINT_DOWNLOAD_H_
#define QUANTD_WORKER_AGENT_CHECKPOINT_DOWNLOAD_H_

#include <cstdint>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "core/base/file_system.h"
#include "quantd/v1/worker_service.pb.h"
#include "worker/agent/server_connection.h"

namespace quantd {

struct CheckpointDownloadOptions {
  std::string job = {};
  int64_t fence = 0;
  std::string folder = {};  // made, and removed again on any error
};

// Writes every file of `checkpoint` below the folder, size and digest checked. While the server cannot be reached it
// tries again until stopped. Errors: IsUnusable below; ABORTED: the lease is somebody else's; CANCELLED: stopped; else
// this machine's own (DISK_FULL).
absl::Status DownloadCheckpoint(ServerConnection& server, FileSystem& files, const CheckpointDownloadOptions& options,
                                const v1::Checkpoint& checkpoint, const std::stop_token& stop);

// The checkpoint itself is to blame (tampered with, rotten, gone): begin without it.
bool IsUnusableCheckpoint(const absl::Status& status);

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_CHECKPOINT_DOWNLOAD_H_
