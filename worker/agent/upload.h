// Sends an artifact to the server, file by file, resuming where an earlier attempt broke off.
#ifndef QUANTD_WORKER_AGENT_UPLOAD_H_
#define QUANTD_WORKER_AGENT_UPLOAD_H_

#include <cstdint>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/file_system.h"
#include "quantd/v1/quant_job.pb.h"
#include "worker/agent/server_connection.h"

namespace quantd {

struct UploadOptions {
  std::string job = {};
  int64_t fence = 0;
  std::string folder = {};  // that DescribeArtifact described
  absl::Duration first_backoff = absl::Milliseconds(100);
  absl::Duration max_backoff = absl::Seconds(5);
};

// Sends every file of `artifact` in its order. While the server cannot be reached it tries again for as long as `stop`
// allows (whoever holds the lease decides how long that is). A file whose digest the server finds wrong, or whose
// offset moved, is tried three times. ABORTED: the lease is somebody else's. CANCELLED: stopped. Else the server's or
// the file's error.
absl::Status UploadArtifact(ServerConnection& server, FileSystem& files, const UploadOptions& options,
                            const v1::Artifact& artifact, const std::stop_token& stop);

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_UPLOAD_H_
