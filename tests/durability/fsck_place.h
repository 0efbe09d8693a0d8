// Where a test's service keeps its things, each way that `quantd fsck` knows: a sound data directory is made on SQLite
// and moved there.
#ifndef QUANTD_TESTS_DURABILITY_FSCK_PLACE_H_
#define QUANTD_TESTS_DURABILITY_FSCK_PLACE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config/settings.h"
#include "tests/testing/memory_s3.h"

namespace quantd {

enum class FilesIn { kDataDirectory, kSharedFolder, kObjectStore };

struct PlaceKind {
  const char* name;
  bool postgres;
  FilesIn files;
};
const std::vector<PlaceKind>& PlaceKinds();

class FsckPlace {
 public:
  explicit FsckPlace(const PlaceKind& kind) : kind_(kind) {}

  // Empty when the test can run, else why not.
  std::string Obstacle() const;
  // Takes over what is in `directory`.
  void Adopt(const std::string& directory);

  const PlaceKind& kind() const { return kind_; }
  const ServerConfig& config() const { return config_; }
  // Folder of a directory's files, or "".
  const std::string& folder() const { return folder_; }
  MemoryS3& objects() { return *objects_; }

  // Below the folder or prefix; `published`: of a digest.
  std::string PublishedPath(const std::string& sha256) const;
  std::vector<std::string> Paths() const;
  std::string Read(const std::string& path) const;
  void Write(const std::string& path, const std::string& bytes, absl::Duration age = absl::ZeroDuration());
  void Erase(const std::string& path);

  // Past all that the program guards, constraints on single rows excepted. Words differ: `sqlite` or `postgres`.
  void Sql(const std::string& sqlite, const std::string& postgres);
  void Sql(const std::string& both) { Sql(both, both); }

 private:
  std::string Key(const std::string& path) const { return "/artifacts/prod/" + path; }
  void MoveFiles(const std::string& directory);

  const PlaceKind kind_;
  ServerConfig config_;
  std::string folder_;
  std::unique_ptr<MemoryS3> objects_;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_DURABILITY_FSCK_PLACE_H_
