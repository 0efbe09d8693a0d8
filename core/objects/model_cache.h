// Models of an object store on the local disk: fetched once, kept while there is room, shared by all that use them.
//
//   DIRECTORY/models/{digest}/...   a model, whole and synced; {digest} is made of its files' names and contents
//   DIRECTORY/sources/{listing}     the digest of what a listing (names, sizes, etags) was found to hold
//   DIRECTORY/partial/{listing}/    being fetched; not visible under models/ before the last byte is on disk
//   DIRECTORY/reserved/{listing}    bytes that a fetch will need
//   DIRECTORY/locks/, trash/
//
// Several processes may share a directory: locks of files say who fetches, who uses and who removes, and end with their
// process. Whatever a crash leaves behind is removed by the next fetch that needs room.
//
// A model is the objects directly below its URI. Pickled weights (.bin, .pt, .pth, ...), which nothing reads, are left
// out. An outline is a model whose weight files have only their first 16 MiB, the rest being a hole: enough to plan.
#ifndef QUANTD_CORE_OBJECTS_MODEL_CACHE_H_
#define QUANTD_CORE_OBJECTS_MODEL_CACHE_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/objects/file_lock.h"
#include "core/objects/s3_client.h"

namespace quantd {

struct ModelCacheOptions {
  std::string directory;             // created when absent
  int64_t max_bytes = 0;             // of all models together
  std::vector<S3Location> prefixes;  // what lies below one of these may be fetched
  int64_t outline_bytes = int64_t{16} << 20;
};

// "s3://a/b,s3://c": INVALID_ARGUMENT OBJECT_URI_INVALID.
absl::StatusOr<std::vector<S3Location>> ParseModelPrefixes(absl::string_view text);

enum class ModelExtent { kWhole, kOutline };

// A model that stays where it is while this lives.
class CachedModel {
 public:
  CachedModel(std::string digest, FileLock lock) : digest_(std::move(digest)), lock_(std::move(lock)) {}
  // Name of its folder below ModelCache::models_folder().
  const std::string& digest() const { return digest_; }

 private:
  std::string digest_;
  FileLock lock_;
};

// Thread-safe.
class ModelCache {
 public:
  static absl::StatusOr<std::unique_ptr<ModelCache>> Open(ModelCacheOptions options, S3Client& client);
  // Makes its own client.
  static absl::StatusOr<std::unique_ptr<ModelCache>> Open(ModelCacheOptions options, const S3Options& store);

  const std::string& models_folder() const { return models_; }

  // PERMISSION_DENIED MODEL_SOURCE_REFUSED unless `uri` lies below an allowed prefix; INVALID_ARGUMENT
  // OBJECT_URI_INVALID.
  absl::StatusOr<S3Location> CheckSource(absl::string_view uri) const;

  // Of several calls for one model one fetches, the others wait. What was used least recently makes room, nothing that
  // is in use. Reasons besides those of CheckSource and S3Client: MODEL_NOT_FOUND (NOT_FOUND), MODEL_FOLDER_INVALID
  // (odd names, too many files), MODEL_EXCEEDS_CACHE (FAILED_PRECONDITION), MODEL_CACHE_FULL (RESOURCE_EXHAUSTED: all
  // that is there is in use), MODEL_CHANGED (ABORTED: while it was fetched), DISK_FULL.
  absl::StatusOr<CachedModel> Fetch(absl::string_view uri, ModelExtent extent, const StopRequested& stop);

 private:
  // What is to be fetched for one model.
  struct Listing {
    S3Location folder;
    std::vector<ObjectInfo> files;  // key: the name within the folder
    std::string key;                // of the listing: a digest
    ModelExtent extent;
  };

  ModelCache(ModelCacheOptions options, S3Client& client, std::unique_ptr<S3Client> owned);
  absl::Status Initialize();

  absl::StatusOr<Listing> List(absl::string_view uri, ModelExtent extent, const StopRequested& stop);
  // The bytes of a file that are fetched.
  int64_t FetchedBytes(const ObjectInfo& file, ModelExtent extent) const;
  int64_t FetchedBytes(const Listing& listing) const;

  // With the listing's lock held:
  absl::StatusOr<std::optional<CachedModel>> FindCached(const Listing& listing, const StopRequested& stop);
  absl::StatusOr<CachedModel> FetchAnew(const Listing& listing, const StopRequested& stop);
  absl::StatusOr<std::string> FetchFiles(const Listing& listing, const std::string& folder, const StopRequested& stop);
  absl::StatusOr<std::string> FetchFile(const Listing& listing, const ObjectInfo& file, const std::string& path,
                                        const StopRequested& stop);
  absl::Status MakeVisible(const std::string& partial, const std::string& digest);

  absl::Status Reserve(const Listing& listing, const StopRequested& stop);
  // With the room's lock held:
  absl::Status RemoveLeftovers();
  absl::StatusOr<int64_t> UsedBytes();
  // False when nothing can go.
  absl::StatusOr<bool> EvictOne();
  absl::Status Remove(const std::string& digest);

  absl::StatusOr<CachedModel> Use(std::string digest, FileLock lock);
  std::string InFolder(absl::string_view folder, absl::string_view name) const;

  const ModelCacheOptions options_;
  const std::unique_ptr<S3Client> owned_;  // null when the client is somebody else's
  S3Client& client_;
  FileSystem& files_;
  const std::string models_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_MODEL_CACHE_H_
