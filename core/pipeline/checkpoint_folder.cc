#include "core/pipeline/checkpoint_folder.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/durable_step.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/formats/safetensors.h"

namespace quantd {
namespace {

constexpr char kExtension[] = ".safetensors";
constexpr char kTemporaryName[] = "checkpoint.json.tmp";

// What file names of parts begin with; digits and dashes follow.
constexpr absl::string_view kPartPrefixes[] = {"shard-",     "boundary-",        "statistics-", "layer-",
                                               "gradients-", "gradient-losses-", "original-",   "original-",
                                               "quantized-", "scores-"};

bool IsCheckpointName(absl::string_view name) {
  if (name == kCheckpointFileName || name == kTemporaryName) return true;
  if (!absl::ConsumeSuffix(&name, kExtension)) return false;
  for (absl::string_view prefix : kPartPrefixes) {
    if (!absl::StartsWith(name, prefix)) continue;
    return name.find_first_not_of("0123456789-", prefix.size()) == absl::string_view::npos;
  }
  return false;
}

std::string ShardName(int block) {
  return absl::StrFormat("shard-%05d%s", block, kExtension);
}

absl::Status Malformed(absl::string_view what, absl::string_view problem) {
  return InvalidInput("CHECKPOINT_MALFORMED", absl::StrFormat("%s: %s", what, problem));
}

absl::Status WritePart(FileSystem& files, const std::string& path, const StateTensors& tensors) {
  std::vector<TensorSpec> specs;
  for (const StateTensor& tensor : tensors.tensors()) specs.push_back({tensor.name, tensor.dtype, tensor.shape});
  std::unique_ptr<SafetensorsWriter> writer;
  const auto write = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(writer, SafetensorsWriter::Create(files, path, specs, {}));
    for (const StateTensor& tensor : tensors.tensors()) {
      RETURN_IF_ERROR(writer->Append({tensor.bytes.data(), tensor.bytes.size()}));
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(RunDurableStep(DurableStep::kCheckpointWrite, write));
  return RunDurableStep(DurableStep::kCheckpointSync, [&] { return writer->Finish(); });
}

}  // namespace

absl::Status CheckpointFolder::Create() {
  RETURN_IF_ERROR(files_.CreateDirectories(path_));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.ListDirectory(path_));
  for (const std::string& name : names) {
    if (IsCheckpointName(name)) continue;
    return InvalidInput("CHECKPOINT_FOLDER_FOREIGN",
                        absl::StrFormat("%s holds '%s', which is no file of a checkpoint; give a folder of its own to "
                                        "--checkpoint",
                                        path_, name.substr(0, 256)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<CheckpointDocument>> CheckpointFolder::Read() {
  known_.clear();
  const std::string file = JoinPath(path_, kCheckpointFileName);
  if (!files_.Exists(file)) return std::nullopt;
  const auto text = files_.ReadFile(file, kMaxCheckpointDocumentBytes);
  if (!text.ok()) return Malformed(file, text.status().message());
  ASSIGN_OR_RETURN(CheckpointDocument document, ParseCheckpoint(*text, file));
  for (const CheckpointFile& named : document.files) RETURN_IF_ERROR(Verify(named));
  for (const CheckpointFile& named : document.files) known_[named.path] = named;
  RemoveUnnamed(document);
  return document;
}

absl::Status CheckpointFolder::Verify(const CheckpointFile& file) {
  if (!IsCheckpointName(file.path)) return Malformed(path_, "it names a file that no checkpoint has");
  const absl::StatusOr<CheckpointFile> found = Describe(file.path);
  if (!found.ok()) return Malformed(path_, found.status().message());
  if (found->size_bytes == file.size_bytes && found->sha256 == file.sha256) return absl::OkStatus();
  return Malformed(JoinPath(path_, file.path), "it has not the size and digest that checkpoint.json names");
}

absl::StatusOr<CheckpointFile> CheckpointFolder::Describe(const std::string& name) const {
  constexpr uint64_t kPieceBytes = 1 << 20;
  ASSIGN_OR_RETURN(const auto file, files_.OpenForRead(JoinPath(path_, name)));
  Sha256 digest;
  std::string piece;
  for (uint64_t offset = 0; offset < file->size_bytes(); offset += piece.size()) {
    piece.resize(std::min(kPieceBytes, file->size_bytes() - offset));
    RETURN_IF_ERROR(file->Read(offset, absl::MakeSpan(piece)));
    digest.Update(piece);
  }
  return CheckpointFile{name, file->size_bytes(), digest.Finish()};
}

absl::StatusOr<StateTensors> CheckpointFolder::ReadPart(const std::string& name) const {
  const std::string file_name = name + kExtension;
  const std::string path = JoinPath(path_, file_name);
  if (known_.count(file_name) == 0) return Malformed(path, "checkpoint.json does not name it");
  auto opened = SafetensorsFile::Open(path);
  if (!opened.ok()) return Malformed(path, opened.status().message());
  const auto file = std::make_shared<const SafetensorsFile>(*std::move(opened));
  std::vector<StateTensor> tensors;
  for (const TensorEntry& tensor : file->tensors()) {
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape, file->Bytes(tensor)});
  }
  return StateTensors(std::move(tensors), file);
}

absl::Status CheckpointFolder::AddFile(const std::string& name,
                                       absl::FunctionRef<absl::Status(const std::string& path)> write,
                                       CheckpointDocument& document) {
  if (known_.count(name) == 0) {
    RETURN_IF_ERROR(write(JoinPath(path_, name)));
    ASSIGN_OR_RETURN(CheckpointFile file, Describe(name));
    known_[name] = std::move(file);
  }
  document.files.push_back(known_[name]);
  return absl::OkStatus();
}

absl::Status CheckpointFolder::Add(const CheckpointContent& content, CheckpointDocument& document) {
  document.files.clear();
  for (size_t block = 0; block < content.shards.size(); ++block) {
    // The artifact's writer has synced the bytes already, and a copy is synced on the way.
    const auto link = [&](const std::string& path) {
      const auto body = [&] { return files_.LinkOrCopy(content.shards[block], path); };
      return RunDurableStep(DurableStep::kCheckpointWrite, body);
    };
    RETURN_IF_ERROR(AddFile(ShardName(static_cast<int>(block)), link, document));
  }
  for (const StatePart& part : content.parts) {
    const auto write = [&](const std::string& path) { return WritePart(files_, path, part.tensors()); };
    bytes_written_ += BytesToWrite(part);
    RETURN_IF_ERROR(AddFile(part.name + kExtension, write, document));
  }
  return absl::OkStatus();
}

absl::Status CheckpointFolder::RestoreShard(int block, const std::string& to) const {
  const std::string path = JoinPath(path_, ShardName(block));
  if (known_.count(ShardName(block)) == 0) return Malformed(path, "checkpoint.json does not name it");
  return files_.LinkOrCopy(path, to);
}

uint64_t CheckpointFolder::BytesToWrite(const StatePart& part) const {
  if (known_.count(part.name + kExtension) != 0) return 0;
  uint64_t bytes = 0;
  const StateTensors tensors = part.tensors();
  for (const StateTensor& tensor : tensors.tensors()) bytes += tensor.bytes.size();
  return bytes;
}

absl::Status CheckpointFolder::WriteDocument(const std::string& text) {
  const std::string temporary = JoinPath(path_, kTemporaryName);
  std::unique_ptr<WritableFile> file;
  const auto write = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(file, files_.OpenForWrite(temporary));
    return file->Append(text);
  };
  const auto sync = [&]() -> absl::Status {
    RETURN_IF_ERROR(file->Sync());  // Durable step: checkpoint.fsync.
    return file->Close();
  };
  RETURN_IF_ERROR(RunDurableStep(DurableStep::kCheckpointWrite, write));
  RETURN_IF_ERROR(RunDurableStep(DurableStep::kCheckpointSync, sync));
  // Durable step: checkpoint.rename.
  const auto rename = [&] { return files_.Rename(temporary, JoinPath(path_, kCheckpointFileName)); };
  return RunDurableStep(DurableStep::kCheckpointRename, rename);
}

absl::StatusOr<CheckpointFile> CheckpointFolder::Commit(CheckpointDocument& document,
                                                        const CheckpointContent& content) {
  RETURN_IF_ERROR(Add(content, document));
  // Durable step: checkpoint.dirsync.
  const auto sync_names = [&] { return files_.SyncDirectory(path_); };
  // The names of the parts come before the document that relies on them.
  RETURN_IF_ERROR(RunDurableStep(DurableStep::kCheckpointDirectorySync, sync_names));
  const std::string text = CheckpointText(document);
  RETURN_IF_ERROR(WriteDocument(text));
  RETURN_IF_ERROR(RunDurableStep(DurableStep::kCheckpointDirectorySync, sync_names));
  bytes_written_ += text.size();
  RemoveUnnamed(document);
  return CheckpointFile{kCheckpointFileName, text.size(), Sha256Hex(text)};
}

// Files that stay although they cannot be removed do no harm: nothing names them.
void CheckpointFolder::RemoveUnnamed(const CheckpointDocument& document) {
  std::set<std::string> named = {kCheckpointFileName};
  for (const CheckpointFile& file : document.files) named.insert(file.path);
  const auto names = files_.ListDirectory(path_);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (named.count(name) != 0 || !IsCheckpointName(name)) continue;
    known_.erase(name);
    (void)files_.RemoveFile(JoinPath(path_, name));
  }
}

absl::Status CheckpointFolder::Clear() {
  known_.clear();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.ListDirectory(path_));
  // The document first: without it nothing is believed.
  if (files_.Exists(JoinPath(path_, kCheckpointFileName))) {
    RETURN_IF_ERROR(files_.RemoveFile(JoinPath(path_, kCheckpointFileName)));
  }
  for (const std::string& name : names) {
    if (name == kCheckpointFileName || !IsCheckpointName(name)) continue;
    RETURN_IF_ERROR(files_.RemoveFile(JoinPath(path_, name)));
  }
  return absl::OkStatus();
}

absl::Status CheckpointFolder::Remove() {
  RETURN_IF_ERROR(Clear());
  return files_.RemoveAll(path_);
}

}  // namespace quantd
