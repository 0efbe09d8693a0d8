#include "server/artifacts/s3_folder.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/base/thread_pool.h"

namespace quantd {
namespace {

constexpr size_t kMaxObjects = 1'000'000;
// Each waits for the store most of the time.
constexpr size_t kParallel = 8;

template <typename Body>
absl::Status WithoutThrowing(const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return ReasonError(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                       "no memory for a call of the object store");
  }
}

}  // namespace

absl::StatusOr<S3Folder::Sizes> S3Folder::List(absl::string_view folder) const {
  const S3Location prefix = At(folder);
  ASSIGN_OR_RETURN(const std::vector<ObjectInfo> objects, client_.List(prefix, kMaxObjects));
  Sizes sizes;
  for (const ObjectInfo& object : objects) sizes[object.key.substr(prefix.key.size())] = object.size_bytes;
  return sizes;
}

absl::StatusOr<std::vector<std::string>> S3Folder::Folders(absl::string_view folder) const {
  return client_.ListFolders(At(folder));
}

absl::StatusOr<std::optional<ObjectInfo>> S3Folder::Find(absl::string_view name) const {
  absl::StatusOr<ObjectInfo> info = client_.Head(At(name));
  if (ReasonOf(info.status()) == "OBJECT_NOT_FOUND") return std::nullopt;
  RETURN_IF_ERROR(info.status());
  return *std::move(info);
}

absl::Status S3Folder::RemoveBelow(absl::string_view folder) const {
  ASSIGN_OR_RETURN(const Sizes sizes, List(folder));
  std::vector<std::string> names;
  for (const auto& [name, size] : sizes) names.push_back(absl::StrCat(folder, name));
  return Remove(names);
}

absl::Status S3Folder::Remove(const std::vector<std::string>& names) const {
  return ForEach(names.size(), [&](size_t index) { return client_.Delete(At(names[index])); });
}

absl::Status S3Folder::ForEach(size_t count, const std::function<absl::Status(size_t index)>& body) {
  if (count == 0) return absl::OkStatus();
  std::mutex mutex;
  absl::Status first;  // guarded by mutex
  ThreadPool pool(static_cast<int>(std::min(count, kParallel)));
  pool.ParallelFor(static_cast<int64_t>(count), [&](int64_t index) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!first.ok()) return;
    }
    const absl::Status status = WithoutThrowing([&] { return body(static_cast<size_t>(index)); });
    const std::lock_guard<std::mutex> lock(mutex);
    if (first.ok()) first = status;
  });
  return first;
}

}  // namespace quantd
