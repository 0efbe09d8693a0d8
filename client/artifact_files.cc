#include "client/artifact_files.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/text/error_text.h"
#include "core/base/checked.h"
#include "core/base/json.h"
#include "core/base/status.h"
#include "proto/job_state.h"

namespace quantd {
namespace {

absl::Status DataLoss(absl::string_view reason, absl::string_view message) {
  return ReasonError(absl::StatusCode::kDataLoss, reason, message);
}

// Relative, stays below the folder, and no name that a part file of another could have.
bool IsSafePath(absl::string_view path) {
  if (path.empty() || path.size() > 1024 || absl::EndsWith(path, ".part")) return false;
  const auto is_forbidden = [](unsigned char c) { return absl::ascii_iscntrl(c) || c == '\\'; };
  if (std::any_of(path.begin(), path.end(), is_forbidden)) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  return std::none_of(parts.begin(), parts.end(),
                      [](absl::string_view part) { return part.empty() || part == "." || part == ".."; });
}

bool IsDigest(absl::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

absl::Status CheckEntry(const v1::ArtifactFile& file, std::set<std::string>& seen, uint64_t& total) {
  if (!IsSafePath(file.path()) || !seen.insert(file.path()).second) {
    return DataLoss("ARTIFACT_PATH_INVALID",
                    absl::StrCat("the server lists the file '", absl::CHexEscape(file.path()),
                                 "', which is no path below a folder or comes twice; nothing was written"));
  }
  const auto sum = CheckedAdd(total, static_cast<uint64_t>(std::max<int64_t>(file.size_bytes(), 0)));
  if (!IsDigest(file.sha256()) || file.size_bytes() < 0 || !sum.has_value() || *sum > INT64_MAX) {
    return DataLoss("ARTIFACT_LIST_INVALID",
                    absl::StrCat("the server lists '", file.path(), "' with ", file.size_bytes(), " bytes and digest '",
                                 absl::CHexEscape(file.sha256()), "', which cannot be; nothing was written"));
  }
  total = *sum;
  return absl::OkStatus();
}

v1::ArtifactFile ManifestEntry(const v1::Artifact& artifact) {
  v1::ArtifactFile manifest;
  manifest.set_path(std::string(kManifestPath));
  manifest.set_size_bytes(kSizeUnknown);
  for (const v1::ArtifactFile& file : artifact.files()) {
    if (file.path() == kManifestPath) manifest = file;
  }
  manifest.set_sha256(artifact.digest());
  return manifest;
}

absl::Status Disagrees(absl::string_view message) {
  return DataLoss("MANIFEST_DISAGREES", absl::StrCat("manifest.json ", message, "; do not use this artifact"));
}

absl::StatusOr<std::map<std::string, std::string>> DigestsIn(absl::string_view manifest_json) {
  ASSIGN_OR_RETURN(const Json manifest, ParseJson(manifest_json, kManifestPath));
  const auto files = manifest.find("files");
  if (files == manifest.end() || !files->is_array()) return Disagrees("has no list of files");
  std::map<std::string, std::string> digests;
  for (const Json& file : *files) {
    ASSIGN_OR_RETURN(const std::string path, JsonString(file, "path", kManifestPath));
    ASSIGN_OR_RETURN(digests[path], JsonString(file, "sha256", kManifestPath));
  }
  return digests;
}

}  // namespace

absl::StatusOr<std::vector<v1::ArtifactFile>> FilesToDownload(const v1::QuantJob& job) {
  if (!job.has_artifact() || job.artifact().digest().empty()) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "JOB_NOT_FINISHED",
                       absl::StrCat(job.name(), " is ", StateName(job.state()),
                                    ": only a job that is SUCCEEDED or REJECTED has an artifact"));
  }
  std::vector<v1::ArtifactFile> files;
  std::set<std::string> seen;
  uint64_t total = 0;
  for (const v1::ArtifactFile& file : job.artifact().files()) {
    RETURN_IF_ERROR(CheckEntry(file, seen, total));
    if (file.path() != kManifestPath) files.push_back(file);
  }
  files.push_back(ManifestEntry(job.artifact()));
  if (!IsDigest(files.back().sha256())) {
    return DataLoss("ARTIFACT_LIST_INVALID", absl::StrCat("the artifact of ", job.name(), " has no SHA-256 digest"));
  }
  return files;
}

absl::Status CheckAgainstManifest(absl::string_view manifest_json, const std::vector<v1::ArtifactFile>& files) {
  const auto digests = DigestsIn(manifest_json);
  if (!digests.ok()) return Disagrees(absl::StrCat("cannot be read: ", digests.status().message()));
  std::map<std::string, std::string> listed;
  for (const v1::ArtifactFile& file : files) listed[file.path()] = file.sha256();
  for (const auto& [path, sha256] : *digests) {
    const auto found = listed.find(path);
    if (found == listed.end())
      return Disagrees(absl::StrCat("names '", Printable(path), "', which the job does not list"));
    if (found->second != sha256) {
      return Disagrees(
          absl::StrCat("gives '", Printable(path), "' the digest ", Printable(sha256), ", the job ", found->second));
    }
  }
  return absl::OkStatus();
}

}  // namespace quantd
