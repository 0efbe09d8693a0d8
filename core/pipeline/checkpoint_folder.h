// The folder of a checkpoint: what is written there, in which order it becomes durable, and what is believed of it.
// docs/formats/checkpoint.md.
//
//   CheckpointFolder folder(files, path);
//   RETURN_IF_ERROR(folder.Create());
//   ASSIGN_OR_RETURN(const auto saved, folder.Read());     // every digest checked; nullopt: nothing there
//   ...
//   ASSIGN_OR_RETURN(const auto file, folder.Commit(document, {shards, parts}));
//
// A failed commit leaves the last committed checkpoint, or the one being committed, in force. One thread at a time.
#ifndef QUANTD_CORE_PIPELINE_CHECKPOINT_FOLDER_H_
#define QUANTD_CORE_PIPELINE_CHECKPOINT_FOLDER_H_

#include <map>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/file_system.h"
#include "core/pipeline/checkpoint_document.h"
#include "core/tensor/state_tensor.h"

namespace quantd {

struct CheckpointContent {
  absl::Span<const std::string> shards;  // paths in the artifact, one a finished block; linked where that can be
  absl::Span<const StatePart> parts;
};

class CheckpointFolder {
 public:
  CheckpointFolder(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}

  // INVALID_ARGUMENT CHECKPOINT_FOLDER_FOREIGN when it holds a file that no checkpoint has: it is never cleared then.
  absl::Status Create();
  // The committed checkpoint, its files verified. CHECKPOINT_MALFORMED names what is wrong.
  absl::StatusOr<std::optional<CheckpointDocument>> Read();
  // CHECKPOINT_MALFORMED when the committed checkpoint has no such part, or it cannot be read.
  absl::StatusOr<StateTensors> ReadPart(const std::string& name) const;

  // Puts the shard of a block of the committed checkpoint at `to`.
  absl::Status RestoreShard(int block, const std::string& to) const;

  // Bytes that committing this part would write.
  uint64_t BytesToWrite(const StatePart& part) const;
  // Writes and syncs what is not there already, then the document that names it all (`document.files` is filled in),
  // then removes files that it does not name. The result describes checkpoint.json itself.
  absl::StatusOr<CheckpointFile> Commit(CheckpointDocument& document, const CheckpointContent& content);

  absl::Status Clear();   // the files of checkpoints
  absl::Status Remove();  // and the folder

  uint64_t bytes_written() const { return bytes_written_; }  // of parts and documents
  const std::string& path() const { return path_; }

 private:
  absl::Status Add(const CheckpointContent& content, CheckpointDocument& document);
  absl::Status AddFile(const std::string& name, absl::FunctionRef<absl::Status(const std::string& path)> write,
                       CheckpointDocument& document);
  absl::Status WriteDocument(const std::string& text);
  absl::Status Verify(const CheckpointFile& file);
  absl::StatusOr<CheckpointFile> Describe(const std::string& name) const;
  void RemoveUnnamed(const CheckpointDocument& document);

  FileSystem& files_;
  const std::string path_;
  std::map<std::string, CheckpointFile> known_;  // durable in the folder, by name, whether committed or not
  uint64_t bytes_written_ = 0;
};

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_CHECKPOINT_FOLDER_H_
