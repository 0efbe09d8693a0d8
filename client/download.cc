// QuantdClient::Download and DownloadFile.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/artifact_files.h"
#include "client/connection.h"
#include "client/part_file.h"
#include "client/reconnect.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr absl::Duration kLongestStream = absl::Minutes(10);  // then it is opened again where it stopped
constexpr absl::Duration kLongestOutage = absl::Seconds(30);

int64_t KnownBytes(const v1::ArtifactFile& file) {
  return std::max<int64_t>(file.size_bytes(), 0);
}

absl::Status DataLoss(absl::string_view reason, absl::string_view message) {
  return ReasonError(absl::StatusCode::kDataLoss, reason, message);
}

// Fetches one file of one artifact.
class FileDownload {
 public:
  FileDownload(v1::QuantService::StubInterface& stub, std::string server, std::string job, v1::ArtifactFile file)
      : stub_(stub), server_(std::move(server)), job_(std::move(job)), file_(std::move(file)) {}

  // `on_bytes` is told how many bytes of the file are there.
  absl::Status To(const std::string& destination, const std::function<void(int64_t)>& on_bytes) {
    if (IsThere(destination)) {
      on_bytes(KnownBytes(file_));
      return absl::OkStatus();
    }
    PartFile part(RealFileSystem(), destination);
    RETURN_IF_ERROR(
        part.Open(file_.size_bytes() == kSizeUnknown ? std::numeric_limits<int64_t>::max() : file_.size_bytes()));
    const bool resumed = part.size_bytes() > 0;
    RETURN_IF_ERROR(Fetch(part, on_bytes));
    std::string digest = part.Digest();
    if (digest != file_.sha256() && resumed) {
      // The earlier run may have left bytes of something else: only a whole transfer tells.
      RETURN_IF_ERROR(part.StartOver());
      RETURN_IF_ERROR(Fetch(part, on_bytes));
      digest = part.Digest();
    }
    if (digest != file_.sha256()) return Mismatch(part, digest);
    return part.Commit();
  }

 private:
  bool IsThere(const std::string& path) const {
    const auto size = RealFileSystem().FileSize(path);
    if (!size.ok()) return false;
    if (file_.size_bytes() != kSizeUnknown && static_cast<int64_t>(*size) != file_.size_bytes()) return false;
    const auto digest = Sha256OfFile(path);
    return digest.ok() && *digest == file_.sha256();
  }

  absl::Status Fetch(PartFile& part, const std::function<void(int64_t)>& on_bytes) {
    if (part.size_bytes() == file_.size_bytes()) return absl::OkStatus();  // an earlier run ended before the rename
    Reconnect reconnect(kLongestOutage);
    done_ = false;
    for (;;) {
      const absl::Status status = ReadStream(part, reconnect, on_bytes);
      if (done_) return absl::OkStatus();
      if (!reconnect.WaitAfter(status)) return status.ok() ? EndedEarly(part) : status;
    }
  }

  absl::Status ReadStream(PartFile& part, Reconnect& reconnect, const std::function<void(int64_t)>& on_bytes) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kLongestStream));
    v1::DownloadArtifactRequest request;
    request.set_name(job_);
    request.set_path(file_.path());
    request.set_offset(part.size_bytes());
    const auto reader = stub_.DownloadArtifact(&context, request);
    v1::DownloadArtifactResponse chunk;
    for (bool first = true; reader->Read(&chunk); first = false) {
      reconnect.Progress();
      const absl::Status status = Take(chunk, first, part);
      if (!status.ok()) {
        context.TryCancel();
        return status;
      }
      on_bytes(part.size_bytes());
    }
    return FromRpcStatus(reader->Finish(), server_);
  }

  absl::Status Take(const v1::DownloadArtifactResponse& chunk, bool first, PartFile& part) {
    if (first && file_.size_bytes() == kSizeUnknown) file_.set_size_bytes(chunk.size_bytes());
    if (first && (chunk.size_bytes() != file_.size_bytes() || chunk.sha256() != file_.sha256())) {
      return DataLoss(
          "ARTIFACT_CHANGED",
          absl::StrFormat("%s: the server offers %d bytes with digest %s, the job names %d "
                          "bytes with %s; look at the job again",
                          file_.path(), chunk.size_bytes(), chunk.sha256(), file_.size_bytes(), file_.sha256()));
    }
    const int64_t size = static_cast<int64_t>(chunk.data().size());
    if (chunk.offset() != part.size_bytes() || size > file_.size_bytes() - part.size_bytes()) {
      return DataLoss("CHUNK_MISPLACED",
                      absl::StrFormat("%s: the server sent %d bytes at offset %d, but %d of %d bytes are here",
                                      file_.path(), size, chunk.offset(), part.size_bytes(), file_.size_bytes()));
    }
    RETURN_IF_ERROR(part.Append(chunk.data()));
    done_ = chunk.done();
    if (!done_ || part.size_bytes() == file_.size_bytes()) return absl::OkStatus();
    done_ = false;
    return DataLoss("ARTIFACT_CUT_OFF", absl::StrFormat("%s: the server ended the file at %d of %d bytes", file_.path(),
                                                        part.size_bytes(), file_.size_bytes()));
  }

  // Nothing of a wrong file is kept, so that the next run begins afresh.
  absl::Status Mismatch(PartFile& part, const std::string& digest) const {
    RETURN_IF_ERROR(part.Discard());
    return DataLoss("DIGEST_MISMATCH",
                    absl::StrCat(file_.path(), ": the bytes received have digest ", digest, ", not ", file_.sha256(),
                                 "; they were dropped. Try again; if it stays, the server's copy is damaged"));
  }

  absl::Status EndedEarly(const PartFile& part) const {
    return ReasonError(
        absl::StatusCode::kUnavailable, "DOWNLOAD_ENDED_EARLY",
        absl::StrFormat("%s: quantd at %s ended the stream at %d of %d bytes; run the same command again "
                        "to go on from there",
                        file_.path(), server_, part.size_bytes(), file_.size_bytes()));
  }

  v1::QuantService::StubInterface& stub_;
  std::string server_;
  std::string job_;
  v1::ArtifactFile file_;
  bool done_ = false;
};

// A manifest that disagrees is removed again: a folder that has one is complete.
absl::Status CheckManifest(const std::string& path, const std::vector<v1::ArtifactFile>& files) {
  ASSIGN_OR_RETURN(const std::string manifest, RealFileSystem().ReadFile(path, kMaxJsonBytes));
  const absl::Status status = CheckAgainstManifest(manifest, files);
  if (!status.ok()) RETURN_IF_ERROR(RealFileSystem().RemoveFile(path));
  return status;
}

}  // namespace

absl::Status QuantdClient::Download(const v1::QuantJob& job, const DownloadOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<v1::ArtifactFile> files, FilesToDownload(job));
  int64_t total_bytes = 0;
  for (const v1::ArtifactFile& file : files) total_bytes += KnownBytes(file);
  DownloadProgress progress{.path = "", .done_bytes = 0, .total_bytes = total_bytes};
  int64_t bytes_before = 0;
  const auto report = [&](int64_t file_bytes) {
    progress.done_bytes = bytes_before + file_bytes;
    if (options.on_progress != nullptr) options.on_progress(progress);
  };
  for (const v1::ArtifactFile& file : files) {
    progress.path = file.path();
    FileDownload download(*connection_->stub, connection_->server, job.name(), file);
    RETURN_IF_ERROR(download.To(JoinPath(options.directory, file.path()), report));
    bytes_before += KnownBytes(file);
  }
  return CheckManifest(JoinPath(options.directory, kManifestPath), files);
}

absl::Status QuantdClient::DownloadFile(const v1::QuantJob& job, const std::string& path,
                                        const std::string& destination) {
  ASSIGN_OR_RETURN(const std::vector<v1::ArtifactFile> files, FilesToDownload(job));
  for (const v1::ArtifactFile& file : files) {
    if (file.path() != path) continue;
    return FileDownload(*connection_->stub, connection_->server, job.name(), file).To(destination, [](int64_t) {});
  }
  return ReasonError(absl::StatusCode::kNotFound, "ARTIFACT_FILE_NOT_FOUND",
                     absl::StrCat("the artifact of ", job.name(), " has no file '", path, "'"));
}

}  // namespace quantd
