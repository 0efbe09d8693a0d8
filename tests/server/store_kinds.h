// The artifact stores that every test of their interface runs over: a directory, an object store in memory, and one of
// somebody else (moto).
#ifndef QUANTD_TESTS_SERVER_STORE_KINDS_H_
#define QUANTD_TESTS_SERVER_STORE_KINDS_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/objects/s3_client.h"
#include "server/artifacts/artifact_store.h"
#include "server/artifacts/s3_artifact_store.h"
#include "tests/testing/memory_s3.h"
#include "tests/testing/object_server.h"

namespace quantd {

enum class StoreKind { kDirectory, kMemoryS3, kMoto };

std::string KindName(const testing::TestParamInfo<StoreKind>& row);

// Where one test's store keeps its things; it may be opened again and again, also twice at once.
class StorePlace {
 public:
  StorePlace(StoreKind kind, FileSystem& files, std::string directory);

  // Empty when the test can run, else why not.
  const std::string& obstacle() const { return obstacle_; }
  absl::StatusOr<std::unique_ptr<ArtifactStore>> Open();
  // By another server: with a directory of its own, in the same object store.
  absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenElsewhere(const std::string& directory);

  // Names of what is staged below staging + `folder` ("", "/job"), here or in the object store; sorted.
  std::vector<std::string> Staged(const std::string& folder);

  // Of kMemoryS3 alone.
  MemoryS3* memory() { return memory_.get(); }
  S3Client* client() { return client_.get(); }

 private:
  const StoreKind kind_;
  FileSystem& files_;
  const std::string directory_;
  std::string obstacle_;
  std::unique_ptr<MemoryS3> memory_;
  std::unique_ptr<S3Client> client_;  // null for a directory
  S3ArtifactOptions s3_;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_SERVER_STORE_KINDS_H_
