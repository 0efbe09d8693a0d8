#include "server/artifacts/s3_artifact_store.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/base/durable_step.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/artifacts/s3_file.h"
#include "server/artifacts/s3_folder.h"
#include "server/artifacts/s3_upload.h"

namespace quantd {
namespace {

constexpr size_t kDigestLength = 64;
constexpr absl::string_view kManifest = "manifest.json";
constexpr size_t kMostInFolder = 1'000'000;  // a 256th of the published files
// A published file that is older is written anew by whoever publishes it again: those that no row names are collected
// by their age, and this one is about to be named.
constexpr absl::Duration kFresh = absl::Minutes(10);

bool IsDigest(absl::string_view text) {
  return text.size() == kDigestLength && text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

std::string PublishedName(absl::string_view sha256) {
  return absl::StrCat("sha256/", sha256.substr(0, 2), "/", sha256);
}
std::string StagedFolder(const StagingKey& key) {
  return absl::StrCat("staging/", key.job, "/", key.fence, "/");
}
// Below the folder of its attempt.
std::string StagedName(const v1::ArtifactFile& file) {
  return absl::StrCat(file.path(), "/", file.sha256());
}
std::string CheckpointFolder(absl::string_view job) {
  return absl::StrCat("checkpoints/", job, "/");
}

bool Has(const S3Folder::Sizes& sizes, const std::string& name, const v1::ArtifactFile& file) {
  const auto found = sizes.find(name);
  return found != sizes.end() && found->second == file.size_bytes();
}

class S3ArtifactStore : public ArtifactStore {
 public:
  S3ArtifactStore(FileSystem& files, const std::string& directory, S3Client& client, const S3ArtifactOptions& options)
      : files_(files), local_staging_(JoinPath(directory, "staging")), folder_(client, options.root) {}

  absl::Status Initialize(const std::string& directory) {
    ASSIGN_OR_RETURN(local_, OpenDirectoryArtifactStore(files_, directory));
    const absl::Status usable = folder_.client().ListSome(folder_.At("probe"), "").status();
    if (usable.code() != absl::StatusCode::kUnavailable) return usable;
    // It may come back, and what does not need it works meanwhile.
    Log(Severity::kWarning, "object_store_not_reached", {{"reason", ReasonOf(usable)}}, usable.message());
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> UploadOffset(const StagingKey& key, absl::string_view path) override {
    ASSIGN_OR_RETURN(int64_t most, local_->UploadOffset(key, path));
    ASSIGN_OR_RETURN(const S3Folder::Sizes whole, folder_.List(absl::StrCat(StagedFolder(key), path, "/")));
    for (const auto& [name, size_bytes] : whole) {
      if (IsDigest(name)) most = std::max(most, size_bytes);
    }
    return most;
  }

  absl::StatusOr<std::unique_ptr<ArtifactUpload>> BeginUpload(const StagingKey& key, const v1::ArtifactFile& file,
                                                              int64_t offset) override {
    RETURN_IF_ERROR(CheckArtifactFile(file));
    const std::string name = absl::StrCat(StagedFolder(key), StagedName(file));
    if (offset > 0 && offset == file.size_bytes()) {
      ASSIGN_OR_RETURN(const std::optional<ObjectInfo> there, folder_.Find(name));
      if (there.has_value() && there->size_bytes == offset) return std::make_unique<FinishedUpload>(file);
    }
    ASSIGN_OR_RETURN(auto local, local_->BeginUpload(key, file, offset));
    const std::string local_path = absl::StrCat(local_staging_, "/", key.job, "/", key.fence, "/", StagedName(file));
    return std::make_unique<S3Upload>(
        std::move(local), S3UploadRoute{files_, folder_.client(), local_path, folder_.At(name)}, file.size_bytes());
  }

  absl::Status Publish(const StagingKey& key, const v1::Artifact& artifact) override {
    RETURN_IF_ERROR(CheckArtifactManifest(artifact));
    // Before the first is copied: of an artifact that lacks a file none is published.
    ASSIGN_OR_RETURN(const std::vector<v1::ArtifactFile> staged, FilesToCopy(key, artifact));
    RETURN_IF_ERROR(PublishFiles(key, staged, /*manifest=*/false));
    return PublishFiles(key, staged, /*manifest=*/true);
  }

  absl::Status DropStaging(const StagingKey& key) override {
    RETURN_IF_ERROR(local_->DropStaging(key));
    return folder_.RemoveBelow(key.fence == 0 ? absl::StrCat("staging/", key.job, "/") : StagedFolder(key));
  }

  absl::Status KeepStaging(const LiveAttempts& live) override {
    RETURN_IF_ERROR(local_->KeepStaging(live));
    std::string continuation;
    do {
      ASSIGN_OR_RETURN(const ListPage page, folder_.client().ListSome(folder_.At("staging/"), continuation));
      if (!page.objects.empty()) RETURN_IF_ERROR(RemoveLeftovers(page, live));
      continuation = page.continuation;
    } while (!continuation.empty());
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(absl::string_view sha256) override {
    if (IsDigest(sha256)) {
      ASSIGN_OR_RETURN(auto file, OpenObject(PublishedName(sha256), sha256));
      if (file != nullptr) return file;
    }
    return ReasonError(absl::StatusCode::kNotFound, "ARTIFACT_FILE_NOT_FOUND",
                       absl::StrFormat("no published file has SHA-256 '%s'", sha256));
  }

  absl::StatusOr<bool> Remove(absl::string_view sha256, absl::Duration min_age) override {
    if (!IsDigest(sha256)) return true;
    const std::string name = PublishedName(sha256);
    ASSIGN_OR_RETURN(const std::optional<ObjectInfo> info, folder_.Find(name));
    if (!info.has_value()) return true;
    if (AgeOf(*info) < min_age) return false;
    const absl::Status removed =
        RunDurableStep(DurableStep::kArtifactUnlink, [&] { return folder_.client().Delete(folder_.At(name)); });
    RETURN_IF_ERROR(removed);
    return true;
  }

  absl::StatusOr<std::vector<PublishedFile>> ListPublished(absl::string_view after, int limit) override {
    std::vector<PublishedFile> found;
    ASSIGN_OR_RETURN(const std::vector<std::string> folders, folder_.Folders("sha256/"));
    for (const std::string& folder : folders) {
      if (folder < after.substr(0, 2)) continue;
      RETURN_IF_ERROR(ListPublishedIn(folder, after, limit, &found));
      if (static_cast<int>(found.size()) >= limit) break;
    }
    return found;
  }

  absl::StatusOr<uint64_t> FreeBytes() override { return INT64_MAX; }

  absl::Status CommitCheckpoint(const StagingKey& key, const v1::Checkpoint& checkpoint) override {
    RETURN_IF_ERROR(CheckCheckpoint(checkpoint));
    ASSIGN_OR_RETURN(const CheckpointPlan plan, PlanCheckpoint(key, checkpoint));
    if (!plan.missing.empty()) {
      return ReasonError(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_INCOMPLETE",
                         absl::StrFormat("%s of the checkpoint was not uploaded (%d files are missing); ask "
                                         "CheckpointFilesMissing, upload them and commit again",
                                         plan.missing.front(), plan.missing.size()));
    }
    return S3Folder::ForEach(plan.copied.size(), [&](size_t index) {
      const v1::ArtifactFile& file = plan.copied[index];
      return Copy(DurableStep::kCheckpointRename, key, file, absl::StrCat(CheckpointFolder(key.job), file.sha256()));
    });
  }

  absl::StatusOr<std::vector<std::string>> CheckpointFilesMissing(const StagingKey& key,
                                                                  const v1::Checkpoint& checkpoint) override {
    RETURN_IF_ERROR(CheckCheckpoint(checkpoint));
    ASSIGN_OR_RETURN(CheckpointPlan plan, PlanCheckpoint(key, checkpoint));
    return std::move(plan.missing);
  }

  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenCheckpointFile(absl::string_view job,
                                                                       absl::string_view sha256) override {
    if (IsDigest(sha256)) {
      ASSIGN_OR_RETURN(auto file, OpenObject(absl::StrCat(CheckpointFolder(job), sha256), sha256));
      if (file != nullptr) return file;
    }
    return ReasonError(absl::StatusCode::kNotFound, "CHECKPOINT_FILE_NOT_FOUND",
                       absl::StrFormat("no checkpoint of job %s has a file with SHA-256 '%s'; begin without a "
                                       "checkpoint",
                                       job, sha256));
  }

  absl::Status RemoveCheckpointFiles(absl::string_view job, const std::vector<std::string>& sha256s) override {
    std::vector<std::string> names;
    for (const std::string& sha256 : sha256s) names.push_back(absl::StrCat(CheckpointFolder(job), sha256));
    return folder_.Remove(names);
  }
  absl::Status DropCheckpoint(absl::string_view job) override { return folder_.RemoveBelow(CheckpointFolder(job)); }
  absl::StatusOr<std::vector<std::string>> CheckpointedJobs() override { return folder_.Folders("checkpoints/"); }

 private:
  // At least so long ago it was published the last time: a fresh one is not written anew when it is published again.
  static absl::Duration AgeOf(const ObjectInfo& info) {
    return std::max(RealClock().Now() - info.modified - kFresh, absl::ZeroDuration());
  }

  absl::Status ListPublishedIn(absl::string_view folder, absl::string_view after, int limit,
                               std::vector<PublishedFile>* found) {
    const S3Location prefix = folder_.At(absl::StrCat("sha256/", folder, "/"));
    ASSIGN_OR_RETURN(const std::vector<ObjectInfo> objects, folder_.client().List(prefix, kMostInFolder));
    for (const ObjectInfo& object : objects) {
      if (static_cast<int>(found->size()) >= limit) break;
      const absl::string_view sha256 = absl::string_view(object.key).substr(prefix.key.size());
      if (!IsDigest(sha256) || sha256 <= after) continue;
      found->push_back({.sha256 = std::string(sha256), .size_bytes = object.size_bytes, .age = AgeOf(object)});
    }
    return absl::OkStatus();
  }

  // Null when there is no such object.
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenObject(const std::string& name, absl::string_view sha256) {
    ASSIGN_OR_RETURN(const std::optional<ObjectInfo> info, folder_.Find(name));
    if (!info.has_value()) return nullptr;
    return std::make_unique<S3File>(folder_.client(), folder_.At(name), static_cast<uint64_t>(info->size_bytes),
                                    std::string(sha256));
  }

  absl::Status Copy(DurableStep step, const StagingKey& key, const v1::ArtifactFile& file, const std::string& to) {
    const S3Location from = folder_.At(absl::StrCat(StagedFolder(key), StagedName(file)));
    return RunDurableStep(step, [&] { return folder_.client().Copy(from, folder_.At(to), file.size_bytes()); });
  }

  // Those of the artifact's files that staging has and that are not published, or not freshly. ARTIFACT_INCOMPLETE when
  // one is in neither place.
  absl::StatusOr<std::vector<v1::ArtifactFile>> FilesToCopy(const StagingKey& key, const v1::Artifact& artifact) {
    ASSIGN_OR_RETURN(const S3Folder::Sizes staged, folder_.List(StagedFolder(key)));
    std::vector<std::optional<ObjectInfo>> published(static_cast<size_t>(artifact.files_size()));
    const auto look = [&](size_t index) -> absl::Status {
      ASSIGN_OR_RETURN(published[index], folder_.Find(PublishedName(artifact.files(static_cast<int>(index)).sha256())));
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(S3Folder::ForEach(published.size(), look));
    std::vector<v1::ArtifactFile> copied;
    for (int i = 0; i < artifact.files_size(); ++i) {
      const v1::ArtifactFile& file = artifact.files(i);
      const std::optional<ObjectInfo>& info = published[static_cast<size_t>(i)];
      const bool there = info.has_value() && info->size_bytes == file.size_bytes();
      if (there && info->modified > RealClock().Now() - kFresh) continue;
      if (Has(staged, StagedName(file), file)) {
        copied.push_back(file);
      } else if (!there) {
        return ArtifactIncomplete(file);
      }
    }
    return copied;
  }

  absl::Status PublishFiles(const StagingKey& key, const std::vector<v1::ArtifactFile>& files, bool manifest) {
    return S3Folder::ForEach(files.size(), [&](size_t index) {
      const v1::ArtifactFile& file = files[index];
      if ((file.path() == kManifest) != manifest) return absl::OkStatus();
      return Copy(DurableStep::kArtifactRename, key, file, PublishedName(file.sha256()));
    });
  }

  absl::Status RemoveLeftovers(const ListPage& page, const LiveAttempts& live) {
    ASSIGN_OR_RETURN(const std::vector<StagingKey> attempts, live());
    std::set<std::string> kept;
    for (const StagingKey& key : attempts) kept.insert(StagedFolder(key));
    const size_t above = folder_.At("").key.size();
    std::vector<std::string> names;
    for (const ObjectInfo& object : page.objects) {
      const std::string name = object.key.substr(above);
      const std::vector<absl::string_view> parts = absl::StrSplit(name, absl::MaxSplits('/', 3));
      const bool alive = parts.size() == 4 && kept.count(absl::StrCat("staging/", parts[1], "/", parts[2], "/")) != 0;
      if (!alive) names.push_back(name);
    }
    return folder_.Remove(names);
  }

  struct CheckpointPlan {
    std::vector<v1::ArtifactFile> copied;  // in staging, not yet the job's; each content once
    std::vector<std::string> missing;      // paths
  };
  absl::StatusOr<CheckpointPlan> PlanCheckpoint(const StagingKey& key, const v1::Checkpoint& checkpoint) {
    ASSIGN_OR_RETURN(const S3Folder::Sizes stored, folder_.List(CheckpointFolder(key.job)));
    ASSIGN_OR_RETURN(const S3Folder::Sizes staged, folder_.List(StagedFolder(key)));
    CheckpointPlan plan;
    std::set<std::string> planned;
    for (const v1::ArtifactFile& file : checkpoint.files()) {
      if (Has(stored, file.sha256(), file)) continue;
      if (!Has(staged, StagedName(file), file)) {
        plan.missing.push_back(file.path());
      } else if (planned.insert(file.sha256()).second) {
        plan.copied.push_back(file);
      }
    }
    return plan;
  }

  FileSystem& files_;
  const std::string local_staging_;
  const S3Folder folder_;
  std::unique_ptr<ArtifactStore> local_;  // only its staging is used
};

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenS3ArtifactStore(FileSystem& files, const std::string& directory,
                                                                   S3Client& client, const S3ArtifactOptions& options) {
  auto store = std::make_unique<S3ArtifactStore>(files, directory, client, options);
  RETURN_IF_ERROR(store->Initialize(directory));
  return std::unique_ptr<ArtifactStore>(std::move(store));
}

}  // namespace quantd
