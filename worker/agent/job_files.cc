#include "worker/agent/job_files.h"

#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "worker/agent/child_messages.h"

namespace quantd {
namespace {

constexpr absl::string_view kManifest = "manifest.json";
constexpr uint64_t kMaxReportBytes = 64u << 20;
constexpr int kMaxArtifactFiles = 100'000;

absl::Status Malformed(absl::string_view message) {
  return ReasonError(absl::StatusCode::kInternal, "ARTIFACT_MALFORMED", message);
}

absl::StatusOr<v1::ArtifactFile> Describe(const std::filesystem::directory_entry& entry, const std::string& folder,
                                          const std::stop_token& stop) {
  const std::string path = entry.path().string();
  if (ValidUtf8(path) != path) return Malformed(absl::StrCat("the name of ", ValidUtf8(path), " is not UTF-8"));
  std::error_code error;
  v1::ArtifactFile file;
  file.set_path(entry.path().lexically_relative(folder).string());
  file.set_size_bytes(static_cast<int64_t>(entry.file_size(error)));
  if (error) return ErrnoError(error.value(), absl::StrCat("reading the size of ", path));
  ASSIGN_OR_RETURN(*file.mutable_sha256(), Sha256OfFile(path, [&] { return stop.stop_requested(); }));
  return file;
}

// Links are not followed: a child must not be able to publish what lies outside its folder.
absl::StatusOr<std::vector<v1::ArtifactFile>> ListFiles(const std::string& folder, const std::stop_token& stop) {
  std::vector<v1::ArtifactFile> result;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const std::filesystem::file_status status = it->symlink_status(ignored);
    if (std::filesystem::is_directory(status)) continue;
    if (!std::filesystem::is_regular_file(status)) {
      return Malformed(absl::StrCat(it->path().string(), " is neither a regular file nor a folder"));
    }
    if (result.size() >= kMaxArtifactFiles) {
      return Malformed(absl::StrFormat("%s has more than %d files", folder, kMaxArtifactFiles));
    }
    ASSIGN_OR_RETURN(v1::ArtifactFile file, Describe(*it, folder, stop));
    result.push_back(std::move(file));
  }
  if (error) return ErrnoError(error.value(), absl::StrCat("listing ", folder));
  return result;
}

absl::StatusOr<v1::QuantReport> ParseReport(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, files.ReadFile(path, kMaxReportBytes));
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  v1::QuantReport report;
  const auto status = google::protobuf::util::JsonStringToMessage(text, &report, options);
  if (!status.ok()) {
    return ReasonError(
        absl::StatusCode::kInternal, "REPORT_MALFORMED",
        absl::StrCat(path, ": ", std::string(status.message()), "; are quant and quant-worker of the same release?"));
  }
  return report;
}

absl::Status CheckDiskBudget(FileSystem& files, const std::string& folder, const v1::JobEstimate& estimate) {
  ASSIGN_OR_RETURN(const uint64_t free_bytes, files.FreeBytes(folder));
  if (estimate.disk_bytes() <= 0 || static_cast<uint64_t>(estimate.disk_bytes()) <= free_bytes) return absl::OkStatus();
  return ReasonError(
      absl::StatusCode::kResourceExhausted, "DISK_FULL",
      absl::StrFormat("the job needs about %d bytes of scratch space, %s has %d free; free some, or give "
                      "the worker another --scratch-dir",
                      estimate.disk_bytes(), folder, free_bytes));
}

// Of the names below, those whose file was not seen under another name.
int64_t OccupiedBytes(const std::string& path, std::set<std::pair<dev_t, ino_t>>& seen) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return 0;
  if (info.st_nlink > 1 && S_ISREG(info.st_mode) && !seen.emplace(info.st_dev, info.st_ino).second) return 0;
  return int64_t{info.st_blocks} * 512;
}

}  // namespace

int64_t FolderBytes(const std::string& folder) {
  int64_t bytes = 0;
  std::set<std::pair<dev_t, ino_t>> seen;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    bytes += OccupiedBytes(it->path().string(), seen);
  }
  return bytes;
}

std::string ScratchName(absl::string_view job, int64_t fence) {
  std::string id = BaseName(job).substr(0, 64);
  for (char& c : id) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) c = '-';
  }
  return absl::StrCat(id, "-", fence, "-", Sha256Hex(absl::StrCat(job, "#", fence)).substr(0, 12));
}

std::string JobFilePath(const std::string& scratch) {
  return JoinPath(scratch, "job.json");
}

std::string ArtifactPath(const std::string& scratch) {
  return JoinPath(scratch, "artifact");
}

std::string CheckpointPath(const std::string& scratch) {
  return JoinPath(scratch, "checkpoint");
}

absl::Status PrepareScratch(FileSystem& files, const std::string& scratch, const v1::Assignment& assignment) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(assignment.spec(), &json, options);
  if (!status.ok()) {
    return InvalidInput("SPEC_MALFORMED",
                        absl::StrCat("the job spec has no JSON form: ", std::string(status.message())));
  }
  RETURN_IF_ERROR(files.RemoveAll(scratch));
  RETURN_IF_ERROR(CheckDiskBudget(files, DirectoryName(scratch), assignment.estimate()));
  RETURN_IF_ERROR(files.CreateDirectories(scratch));
  if (chmod(scratch.c_str(), 0700) != 0) return ErrnoError(errno, absl::StrCat("restricting ", scratch));
  // No durable step: an attempt begins with an empty folder.
  return WriteFileDurably(files, JobFilePath(scratch), json);
}

absl::StatusOr<v1::Artifact> DescribeArtifact(const std::string& folder, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(std::vector<v1::ArtifactFile> files, ListFiles(folder, stop));
  const auto place = [](const v1::ArtifactFile& file) { return std::make_pair(file.path() == kManifest, file.path()); };
  std::sort(files.begin(), files.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
  if (files.empty() || files.back().path() != kManifest) {
    return Malformed(absl::StrCat(folder, " has no ", kManifest, ", although the child reported success"));
  }
  v1::Artifact artifact;
  artifact.set_digest(files.back().sha256());
  for (v1::ArtifactFile& file : files) {
    artifact.set_size_bytes(artifact.size_bytes() + file.size_bytes());
    *artifact.add_files() = std::move(file);
  }
  return artifact;
}

absl::StatusOr<v1::QuantReport> ReadReport(FileSystem& files, const std::string& folder) {
  ASSIGN_OR_RETURN(v1::QuantReport report, ParseReport(files, JoinPath(folder, "report.json")));
  const std::string performance_path = JoinPath(folder, "performance.json");
  if (files.Exists(performance_path)) {
    ASSIGN_OR_RETURN(const v1::QuantReport performance, ParseReport(files, performance_path));
    report.MergeFrom(performance);
  }
  return report;
}

}  // namespace quantd
