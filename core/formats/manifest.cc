#include "core/formats/manifest.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/base/sha256.h"
#include "core/base/status.h"

namespace quantd {
namespace {

// What callers put into *_json members is JSON that they built; null marks a mistake without throwing.
Json ParsedOrNull(const std::string& text) {
  const auto value = ParseJson(text, "manifest");
  return value.ok() ? *value : Json();
}

Json FileToJson(const ManifestFile& file) {
  return {{"path", file.path}, {"size_bytes", file.size_bytes}, {"sha256", file.sha256}};
}

Json SiteToJson(const ManifestSite& site) {
  return {{"name", site.name}, {"grid", site.grid}, {"description", ParsedOrNull(site.description_json)},
          {"rows", site.rows}, {"cols", site.cols}, {"file", site.file}};
}

Json ExportToJson(const ManifestExport& one) {
  return {{"format", one.format}, {"folder", one.folder}, {"certificate", ParsedOrNull(one.certificate_json)}};
}

template <typename T>
Json ListToJson(const std::vector<T>& items, Json (*to_json)(const T&)) {
  Json list = Json::array();
  for (const T& item : items) list.push_back(to_json(item));
  return list;
}

absl::Status CheckFile(const ManifestFile& file, const std::string& folder) {
  const auto path = ResolveBelow(folder, file.path);
  if (ReasonOf(path.status()) == "FILE_NOT_FOUND") {
    return ReasonError(absl::StatusCode::kDataLoss, "ARTIFACT_FILE_MISSING",
                       absl::StrFormat("%s: '%s' is missing; fetch the artifact again", folder, file.path));
  }
  RETURN_IF_ERROR(path.status());
  ASSIGN_OR_RETURN(const uint64_t size_bytes, RealFileSystem().FileSize(*path));
  ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(*path));
  if (size_bytes == file.size_bytes && sha256 == file.sha256) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kDataLoss, "ARTIFACT_FILE_CHANGED",
                     absl::StrFormat("%s: '%s' has %d bytes with sha256 %s, the manifest says %d bytes with %s; fetch "
                                     "the artifact again",
                                     folder, file.path, size_bytes, sha256, file.size_bytes, file.sha256));
}

}  // namespace

Json ManifestToJson(const Manifest& manifest) {
  return {{"schema_version", kManifestSchemaVersion},
          {"recipe", ParsedOrNull(manifest.recipe_json)},
          {"model_fingerprint", manifest.model_fingerprint},
          {"calibration_sha256", manifest.calibration_sha256},
          {"evaluation_sha256", manifest.evaluation_sha256},
          {"build_version", manifest.build_version},
          {"files", ListToJson(manifest.files, &FileToJson)},
          {"sites", ListToJson(manifest.sites, &SiteToJson)},
          {"exports", ListToJson(manifest.exports, &ExportToJson)}};
}

bool IsArtifactFolder(const std::string& folder) {
  return RealFileSystem().Exists(JoinPath(folder, kManifestFileName));
}

absl::StatusOr<Manifest> ReadManifest(const std::string& folder) {
  const std::string path = JoinPath(folder, kManifestFileName);
  ASSIGN_OR_RETURN(const Json json, ReadJsonFile(path));
  return ManifestFromJson(json, path);
}

absl::Status WriteManifest(FileSystem& files, const std::string& folder, const Manifest& manifest) {
  const Json json = ManifestToJson(manifest);
  // What would not be read again is not written.
  RETURN_IF_ERROR(ManifestFromJson(json, "new manifest").status());
  return WriteFileDurably(files, JoinPath(folder, kManifestFileName), JsonText(json));
}

absl::StatusOr<ManifestFile> DescribeFile(const std::string& folder, const std::string& path) {
  ManifestFile file;
  file.path = path;
  ASSIGN_OR_RETURN(const std::string real, ResolveBelow(folder, path));
  ASSIGN_OR_RETURN(file.size_bytes, RealFileSystem().FileSize(real));
  ASSIGN_OR_RETURN(file.sha256, Sha256OfFile(real));
  return file;
}

absl::Status VerifyFiles(const Manifest& manifest, const std::string& folder) {
  for (const ManifestFile& file : manifest.files) RETURN_IF_ERROR(CheckFile(file, folder));
  return absl::OkStatus();
}

}  // namespace quantd
