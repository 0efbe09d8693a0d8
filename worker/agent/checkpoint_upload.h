// Keeps the server's copy of a job's checkpoint up to date while the child runs on.
//
//   CheckpointUpload upload(server, files, options);
//   upload.Offer(checkpoint);                    // each time the child has committed one
//   upload.Finish(absl::Seconds(10), stop);      // after the child's end: the newest one is with the server, or not
//
// One checkpoint is sent at a time, from hard links, so that the child may replace its own at any moment and is never
// waited for. When several were committed meanwhile, the newest is sent next and the others never. Files that the
// server has are not sent again. A checkpoint that cannot be sent is given up with a line in the log: the one before
// stays good.
#ifndef QUANTD_WORKER_AGENT_CHECKPOINT_UPLOAD_H_
#define QUANTD_WORKER_AGENT_CHECKPOINT_UPLOAD_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/file_system.h"
#include "quantd/v1/worker_service.pb.h"
#include "worker/agent/server_connection.h"

namespace quantd {

struct CheckpointUploadOptions {
  std::string job = {};
  int64_t fence = 0;
  std::string source = {};   // folder the child commits to
  std::string scratch = {};  // folder on the same file system for the links
};

// Its calls belong to one thread.
class CheckpointUpload {
 public:
  CheckpointUpload(ServerConnection& server, FileSystem& files, CheckpointUploadOptions options);
  CheckpointUpload(const CheckpointUpload&) = delete;
  CheckpointUpload& operator=(const CheckpointUpload&) = delete;
  // Gives up what is under way.
  ~CheckpointUpload();

  // Takes links of the files at once. Nothing happens when a newer commit has replaced them already: it will be
  // offered.
  void Offer(const v1::Checkpoint& checkpoint);

  // Waits until the newest one offered is with the server; an older one under way is given up for it. False when that
  // failed, `patience` is over or `stop` requested.
  bool Finish(absl::Duration patience, const std::stop_token& stop);

  // Sends no more: the job has its result, and the line is needed for that.
  void GiveUp();

 private:
  struct Linked {
    v1::Checkpoint checkpoint;
    std::string folder;
  };

  absl::Status TakeLinks(const v1::Checkpoint& checkpoint, const std::string& folder) const;
  void Main();
  absl::Status Send(const Linked& linked, const std::stop_token& stop);
  absl::Status SendMissing(const Linked& linked, const v1::CommitCheckpointRequest& request,
                           const std::stop_token& stop);
  void Discard(const std::string& folder);

  ServerConnection& server_;
  FileSystem& files_;
  const CheckpointUploadOptions options_;
  int64_t offered_ = 0;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  // Guarded by mutex_:
  std::optional<Linked> next_;
  std::optional<std::stop_source> sending_;
  bool newest_sent_ = true;
  bool ending_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace quantd

#endif  // QUANTD_WORKER_AGENT_CHECKPOINT_UPLOAD_H_
