#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "server/artifacts/artifact_store.h"

namespace quantd {
namespace {

constexpr size_t kMaxPathBytes = 512;
constexpr size_t kMaxPartBytes = 255;  // of the file systems we run on
constexpr size_t kSha256HexDigits = 64;
constexpr int kMaxCheckpointFiles = 10'000;
constexpr size_t kMaxCheckpointBytes = 2 << 20;  // of the message, which becomes part of the job's row
constexpr absl::string_view kCheckpointManifest = "checkpoint.json";

bool IsPathCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
}

bool IsGoodPart(absl::string_view part) {
  return !part.empty() && part.size() <= kMaxPartBytes && part.front() != '.' &&
         std::all_of(part.begin(), part.end(), &IsPathCharacter);
}

bool IsLowerHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

}  // namespace

absl::Status CheckArtifactPath(absl::string_view path) {
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  if (path.size() <= kMaxPathBytes && std::all_of(parts.begin(), parts.end(), &IsGoodPart)) return absl::OkStatus();
  return InvalidInput(
      "ARTIFACT_PATH_INVALID",
      absl::StrFormat("'%s' is not a path within an artifact: it must be relative, at most %d bytes, of "
                      "parts of at most %d letters, digits, '.', '_' and '-' that do not begin with '.'",
                      path.substr(0, kMaxPathBytes), kMaxPathBytes, kMaxPartBytes));
}

absl::Status CheckArtifactFile(const v1::ArtifactFile& file) {
  RETURN_IF_ERROR(WithField(CheckArtifactPath(file.path()), "file.path"));
  if (file.size_bytes() < 0) {
    return WithField(
        InvalidInput("ARTIFACT_SIZE_INVALID",
                     absl::StrFormat("%s: size_bytes is %d, it cannot be negative", file.path(), file.size_bytes())),
        "file.size_bytes");
  }
  if (file.sha256().size() != kSha256HexDigits ||
      !std::all_of(file.sha256().begin(), file.sha256().end(), &IsLowerHex)) {
    return WithField(InvalidInput("ARTIFACT_DIGEST_INVALID",
                                  absl::StrFormat("%s: sha256 must be 64 lower-case hex digits", file.path())),
                     "file.sha256");
  }
  return absl::OkStatus();
}

absl::Status CheckArtifactManifest(const v1::Artifact& artifact) {
  for (const v1::ArtifactFile& file : artifact.files()) RETURN_IF_ERROR(CheckArtifactFile(file));
  for (const v1::ArtifactFile& file : artifact.files()) {
    if (file.path() == "manifest.json" && file.sha256() == artifact.digest()) return absl::OkStatus();
  }
  return InvalidInput("ARTIFACT_MANIFEST_MISSING",
                      absl::StrFormat("the artifact has no manifest.json with SHA-256 '%s'", artifact.digest()));
}

absl::Status ArtifactIncomplete(const v1::ArtifactFile& file) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "ARTIFACT_INCOMPLETE",
                     absl::StrFormat("%s (%d bytes, SHA-256 %s) was not uploaded; submit the job again, with workers "
                                     "of the server's release",
                                     file.path(), file.size_bytes(), file.sha256()));
}

absl::Status CheckCheckpoint(const v1::Checkpoint& checkpoint) {
  const auto malformed = [](absl::string_view why) {
    return WithField(InvalidInput("CHECKPOINT_MALFORMED", why), "checkpoint");
  };
  if (checkpoint.files_size() > kMaxCheckpointFiles || checkpoint.ByteSizeLong() > kMaxCheckpointBytes) {
    return malformed(
        absl::StrFormat("a checkpoint has at most %d files and a list of at most %d bytes; this has %d, %d",
                        kMaxCheckpointFiles, kMaxCheckpointBytes, checkpoint.files_size(), checkpoint.ByteSizeLong()));
  }
  std::set<absl::string_view> paths;
  for (const v1::ArtifactFile& file : checkpoint.files()) {
    RETURN_IF_ERROR(CheckArtifactFile(file));
    if (!paths.insert(file.path()).second) return malformed(absl::StrFormat("%s is listed twice", file.path()));
  }
  if (paths.count(kCheckpointManifest) == 1) return absl::OkStatus();
  return malformed(absl::StrFormat("a checkpoint has a file %s, this has none", kCheckpointManifest));
}

}  // namespace quantd
