#include "core/objects/model_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/logging.h"
#include "core/base/sha256.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr size_t kMaxObjects = 10'000;
constexpr absl::string_view kWeightSuffix = ".safetensors";
constexpr absl::string_view kUnreadSuffixes[] = {".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf"};
constexpr absl::string_view kFolders[] = {"models", "sources", "partial", "reserved", "locks", "trash"};

bool IsUnread(absl::string_view name) {
  return std::any_of(std::begin(kUnreadSuffixes), std::end(kUnreadSuffixes),
                     [&](absl::string_view suffix) { return absl::EndsWith(name, suffix); });
}

bool IsFileName(absl::string_view name) {
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("._-", c);
  };
  return !name.empty() && name.size() <= 255 && name.front() != '.' && std::all_of(name.begin(), name.end(), allowed);
}

bool IsBelow(const S3Location& location, const S3Location& prefix) {
  if (location.bucket != prefix.bucket) return false;
  return prefix.key.empty() || location.key == prefix.key ||
         absl::StartsWith(location.key, absl::StrCat(prefix.key, "/"));
}

absl::Status BadFolder(const S3Location& folder, absl::string_view what) {
  return InvalidInput("MODEL_FOLDER_INVALID", absl::StrCat(folder.Uri(), ": ", what));
}

}  // namespace

absl::StatusOr<std::vector<S3Location>> ParseModelPrefixes(absl::string_view text) {
  std::vector<S3Location> prefixes;
  for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    ASSIGN_OR_RETURN(S3Location prefix, ParseS3Uri(absl::StripAsciiWhitespace(part)));
    prefixes.push_back(std::move(prefix));
  }
  return prefixes;
}

absl::StatusOr<std::unique_ptr<ModelCache>> ModelCache::Open(ModelCacheOptions options, S3Client& client) {
  std::unique_ptr<ModelCache> cache(new ModelCache(std::move(options), client, nullptr));
  RETURN_IF_ERROR(cache->Initialize());
  return cache;
}

absl::StatusOr<std::unique_ptr<ModelCache>> ModelCache::Open(ModelCacheOptions options, const S3Options& store) {
  ASSIGN_OR_RETURN(std::unique_ptr<S3Client> client, S3Client::Create(store));
  S3Client& used = *client;
  std::unique_ptr<ModelCache> cache(new ModelCache(std::move(options), used, std::move(client)));
  RETURN_IF_ERROR(cache->Initialize());
  return cache;
}

ModelCache::ModelCache(ModelCacheOptions options, S3Client& client, std::unique_ptr<S3Client> owned)
    : options_(std::move(options)),
      owned_(std::move(owned)),
      client_(client),
      files_(RealFileSystem()),
      models_(JoinPath(options_.directory, "models")) {}

absl::Status ModelCache::Initialize() {
  for (const absl::string_view folder : kFolders) {
    RETURN_IF_ERROR(files_.CreateDirectories(JoinPath(options_.directory, folder)));
  }
  return absl::OkStatus();
}

std::string ModelCache::InFolder(absl::string_view folder, absl::string_view name) const {
  return absl::StrCat(options_.directory, "/", folder, "/", name);
}

absl::StatusOr<S3Location> ModelCache::CheckSource(absl::string_view uri) const {
  ASSIGN_OR_RETURN(S3Location location, ParseS3Uri(uri));
  const auto allows = [&](const S3Location& prefix) { return IsBelow(location, prefix); };
  if (std::any_of(options_.prefixes.begin(), options_.prefixes.end(), allows)) return location;
  const auto append_uri = [](std::string* out, const S3Location& prefix) { out->append(prefix.Uri()); };
  return ReasonError(
      absl::StatusCode::kPermissionDenied, "MODEL_SOURCE_REFUSED",
      absl::StrFormat("models may not come from %s; allowed (model_store_prefixes): %s", location.Uri(),
                      options_.prefixes.empty() ? "none" : absl::StrJoin(options_.prefixes, ", ", append_uri)));
}

absl::StatusOr<CachedModel> ModelCache::Fetch(absl::string_view uri, ModelExtent extent, const StopRequested& stop) {
  ASSIGN_OR_RETURN(const Listing listing, List(uri, extent, stop));
  ASSIGN_OR_RETURN(FileLock turn, FileLock::Take(InFolder("locks", listing.key), FileLock::Mode::kExclusive, stop));
  ASSIGN_OR_RETURN(std::optional<CachedModel> cached, FindCached(listing, stop));
  if (!cached.has_value()) {
    ASSIGN_OR_RETURN(cached, FetchAnew(listing, stop));
  }
  turn.RemoveFile();  // else there would be one for every listing that ever was
  return *std::move(cached);
}

absl::StatusOr<ModelCache::Listing> ModelCache::List(absl::string_view uri, ModelExtent extent,
                                                     const StopRequested& stop) {
  ASSIGN_OR_RETURN(const S3Location folder, CheckSource(uri));
  const S3Location inside = folder.Below("");
  ASSIGN_OR_RETURN(const std::vector<ObjectInfo> objects, client_.List(inside, kMaxObjects, stop));
  Listing listing = {.folder = folder, .files = {}, .key = {}, .extent = extent};
  std::string text = extent == ModelExtent::kWhole ? "whole\n" : absl::StrCat("outline ", options_.outline_bytes, "\n");
  for (ObjectInfo object : objects) {
    object.key.erase(0, inside.key.size());
    if (object.key.empty() || absl::StrContains(object.key, '/') || IsUnread(object.key)) continue;
    if (!IsFileName(object.key)) {
      return BadFolder(folder,
                       absl::StrFormat("'%s' is no name for a file of a model: letters, digits, '.', '_' and '-'",
                                       absl::CHexEscape(object.key)));
    }
    absl::StrAppend(&text, object.key, " ", object.size_bytes, " ", object.etag, "\n");
    listing.files.push_back(std::move(object));
  }
  if (listing.files.empty()) {
    return ReasonError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                       absl::StrFormat("there is no model at %s", folder.Uri()));
  }
  listing.key = Sha256Hex(text);
  return listing;
}

int64_t ModelCache::FetchedBytes(const ObjectInfo& file, ModelExtent extent) const {
  const bool shortened = extent == ModelExtent::kOutline && absl::EndsWith(file.key, kWeightSuffix);
  return shortened ? std::min(file.size_bytes, options_.outline_bytes) : file.size_bytes;
}

int64_t ModelCache::FetchedBytes(const Listing& listing) const {
  int64_t sum = 0;
  for (const ObjectInfo& file : listing.files) sum += FetchedBytes(file, listing.extent);
  return sum;
}

absl::StatusOr<std::optional<CachedModel>> ModelCache::FindCached(const Listing& listing, const StopRequested& stop) {
  const auto digest = files_.ReadFile(InFolder("sources", listing.key), /*max_bytes=*/64);
  if (!digest.ok()) return std::nullopt;
  ASSIGN_OR_RETURN(FileLock lock, FileLock::Take(InFolder("locks", *digest), FileLock::Mode::kShared, stop));
  if (!files_.IsDirectory(JoinPath(models_, *digest))) return std::nullopt;
  ASSIGN_OR_RETURN(CachedModel model, Use(*digest, std::move(lock)));
  return std::optional<CachedModel>(std::move(model));
}

// Its folder's time says when it was used last.
absl::StatusOr<CachedModel> ModelCache::Use(std::string digest, FileLock lock) {
  const std::string folder = JoinPath(models_, digest);
  if (utimensat(AT_FDCWD, folder.c_str(), nullptr, 0) != 0) return ErrnoError(errno, absl::StrCat("marking ", folder));
  return CachedModel(std::move(digest), std::move(lock));
}

absl::StatusOr<CachedModel> ModelCache::FetchAnew(const Listing& listing, const StopRequested& stop) {
  RETURN_IF_ERROR(Reserve(listing, stop));
  const std::string partial = InFolder("partial", listing.key);
  Log(Severity::kInfo, "model_fetch",
      {{"model", listing.folder.Uri()}, {"bytes", absl::StrCat(FetchedBytes(listing))}});
  absl::StatusOr<std::string> digest = FetchFiles(listing, partial, stop);
  absl::Status status = digest.status();
  std::optional<FileLock> lock;
  if (status.ok()) {
    auto taken = FileLock::Take(InFolder("locks", *digest), FileLock::Mode::kShared, stop);
    status = taken.status();
    if (taken.ok()) lock = *std::move(taken);
  }
  if (status.ok()) status = MakeVisible(partial, *digest);
  if (status.ok()) status = WriteFileDurably(files_, InFolder("sources", listing.key), *digest);
  (void)files_.RemoveAll(partial);
  (void)files_.RemoveFile(InFolder("reserved", listing.key));
  RETURN_IF_ERROR(status);
  return Use(*std::move(digest), *std::move(lock));
}

absl::StatusOr<std::string> ModelCache::FetchFiles(const Listing& listing, const std::string& folder,
                                                   const StopRequested& stop) {
  RETURN_IF_ERROR(files_.RemoveAll(folder));
  RETURN_IF_ERROR(files_.CreateDirectories(folder));
  std::string contents = listing.extent == ModelExtent::kWhole ? "" : "outline\n";
  for (const ObjectInfo& file : listing.files) {
    ASSIGN_OR_RETURN(const std::string sha256, FetchFile(listing, file, JoinPath(folder, file.key), stop));
    absl::StrAppend(&contents, file.key, " ", file.size_bytes, " ", sha256, "\n");
  }
  RETURN_IF_ERROR(files_.SyncDirectory(folder));
  return Sha256Hex(contents);
}

absl::StatusOr<std::string> ModelCache::FetchFile(const Listing& listing, const ObjectInfo& file,
                                                  const std::string& path, const StopRequested& stop) {
  constexpr int64_t kStepBytes = 16 << 20;
  ASSIGN_OR_RETURN(const auto out, files_.OpenForWrite(path));
  Sha256 digest;
  const int64_t end = FetchedBytes(file, listing.extent);
  for (int64_t offset = 0; offset < end; offset += kStepBytes) {
    const ObjectRange range = {.offset = offset, .size = std::min(kStepBytes, end - offset), .if_etag = file.etag};
    const auto bytes = client_.GetRange(listing.folder.Below(file.key), range, stop);
    if (ReasonOf(bytes.status()) == "OBJECT_EXISTS" || ReasonOf(bytes.status()) == "OBJECT_NOT_FOUND") {
      return ReasonError(
          absl::StatusCode::kAborted, "MODEL_CHANGED",
          absl::StrFormat("%s changed while it was fetched; submit the job again, and put changed models "
                          "under new names",
                          listing.folder.Below(file.key).Uri()));
    }
    RETURN_IF_ERROR(bytes.status());
    digest.Update(*bytes);
    RETURN_IF_ERROR(out->Append(*bytes));
  }
  RETURN_IF_ERROR(out->Sync());
  RETURN_IF_ERROR(out->Close());
  if (end < file.size_bytes) {
    std::error_code error;
    std::filesystem::resize_file(path, static_cast<uint64_t>(file.size_bytes), error);
    if (error) return ErrnoError(error.value(), absl::StrCat("extending ", path));
  }
  return digest.Finish();
}

absl::Status ModelCache::MakeVisible(const std::string& partial, const std::string& digest) {
  const std::string folder = JoinPath(models_, digest);
  if (files_.IsDirectory(folder)) return absl::OkStatus();  // another listing of the same contents was faster
  const absl::Status renamed = files_.Rename(partial, folder);
  if (!renamed.ok() && files_.IsDirectory(folder)) return absl::OkStatus();
  RETURN_IF_ERROR(renamed);
  return files_.SyncDirectory(models_);
}

}  // namespace quantd
