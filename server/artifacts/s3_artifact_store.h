// Artifacts in an object store, for servers without a common disk.
//
//   PREFIX/staging/{job}/{fence}/{path}/{sha256}   received whole, digest checked
//   PREFIX/sha256/ab/abcd...                       published, never changed
//   PREFIX/checkpoints/{job}/{sha256}              files of the job's checkpoint
//
// Bytes on their way are kept in the server's own directory until the last one is there and the digest is right; then
// the file goes to staging in the object store, where every server sees it. So a worker may send each file, and the
// result, to another server; only a file that broke off halfway is begun anew when the next stream reaches another
// server. Publishing and committing copy within the store: their bytes move neither through the server nor twice over
// the network. The store's own list of what an artifact holds is the job's row: files that no row names may be there.
//
// Objects are written whole or not at all, so that the order of steps is the one of the directory store without its
// syncs. Two servers may publish the same result at once: both write the same bytes.
#ifndef QUANTD_SERVER_ARTIFACTS_S3_ARTIFACT_STORE_H_
#define QUANTD_SERVER_ARTIFACTS_S3_ARTIFACT_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/objects/s3_client.h"
#include "server/artifacts/artifact_store.h"

namespace quantd {

struct S3ArtifactOptions {
  S3Location root;  // bucket and prefix, of servers that share one queue and of nobody else
};

// Bytes on their way lie below `directory`/staging. FreeBytes is without a limit; an upload that the directory's disk
// cannot take is refused with DISK_FULL. Asks the store for one object first: OBJECT_STORE_DENIED, OBJECT_NOT_FOUND
// (no such bucket) and OBJECT_STORE_REFUSED say that it cannot be used like this.
absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenS3ArtifactStore(FileSystem& files, const std::string& directory,
                                                                   S3Client& client, const S3ArtifactOptions& options);

}  // namespace quantd

#endif  // QUANTD_SERVER_ARTIFACTS_S3_ARTIFACT_STORE_H_
