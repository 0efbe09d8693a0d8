// The part of a bucket that a server works in, as folders: what is below, copies, removal; many objects at a time.
#ifndef QUANTD_SERVER_ARTIFACTS_S3_FOLDER_H_
#define QUANTD_SERVER_ARTIFACTS_S3_FOLDER_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/objects/s3_client.h"

namespace quantd {

// Thread-safe.
class S3Folder {
 public:
  // Relative name -> size, of objects below a folder.
  using Sizes = std::map<std::string, int64_t>;

  S3Folder(S3Client& client, S3Location root) : client_(client), root_(std::move(root)) {}

  S3Client& client() const { return client_; }
  S3Location At(absl::string_view name) const { return root_.Below(name); }

  // Everything below `folder`, which ends with '/'.
  absl::StatusOr<Sizes> List(absl::string_view folder) const;
  absl::StatusOr<std::vector<std::string>> Folders(absl::string_view folder) const;
  // Nothing when there is no such object.
  absl::StatusOr<std::optional<ObjectInfo>> Find(absl::string_view name) const;

  absl::Status RemoveBelow(absl::string_view folder) const;
  // Those of `names` that are there.
  absl::Status Remove(const std::vector<std::string>& names) const;

  // Several at a time; after a failure no new ones are begun. The first failure.
  static absl::Status ForEach(size_t count, const std::function<absl::Status(size_t index)>& body);

 private:
  S3Client& client_;
  const S3Location root_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_ARTIFACTS_S3_FOLDER_H_
