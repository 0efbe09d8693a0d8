#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "core/formats/manifest.h"

namespace quantd {
namespace {

constexpr size_t kMaxNameBytes = 1024;
constexpr int64_t kMaxSize = int64_t{1} << 24;  // rows or columns of one matrix

absl::Status Malformed(absl::string_view what, absl::string_view why) {
  return InvalidInput("ARTIFACT_MALFORMED", absl::StrCat(what, ": ", why));
}

absl::StatusOr<std::string> Name(const Json& object, const char* key, absl::string_view what) {
  ASSIGN_OR_RETURN(std::string name, JsonString(object, key, what));
  const bool control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (!name.empty() && name.size() <= kMaxNameBytes && !control) return name;
  return Malformed(what, absl::StrFormat("'%s' needs 1 to %d bytes without control characters", key, kMaxNameBytes));
}

// Relative, without empty parts, "." and "..".
absl::StatusOr<std::string> RelativePath(const Json& object, const char* key, absl::string_view what) {
  ASSIGN_OR_RETURN(std::string path, Name(object, key, what));
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (!part.empty() && part != "." && part != "..") continue;
    return Malformed(what, absl::StrFormat("'%s' is '%s'; it must be a path below the artifact's folder", key, path));
  }
  return path;
}

bool IsSha256(absl::string_view text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
}

// "" stands for "none was used" where that is allowed.
absl::StatusOr<std::string> Digest(const Json& object, const char* key, bool may_be_empty, absl::string_view what) {
  ASSIGN_OR_RETURN(std::string digest, JsonString(object, key, what));
  if (IsSha256(digest) || (may_be_empty && digest.empty())) return digest;
  return Malformed(what, absl::StrFormat("'%s' is not a SHA-256 of 64 lower-case hex digits", key));
}

absl::StatusOr<std::string> ObjectText(const Json& object, const char* key, absl::string_view what) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_object()) return Malformed(what, absl::StrFormat("'%s' must be an object", key));
  return it->dump();
}

absl::StatusOr<int64_t> Size(const Json& object, const char* key, absl::string_view what) {
  ASSIGN_OR_RETURN(const int64_t size, JsonInt(object, key, what));
  if (size >= 1 && size <= kMaxSize) return size;
  return Malformed(what, absl::StrFormat("'%s' is %d; it must be 1 to %d", key, size, kMaxSize));
}

absl::StatusOr<ManifestFile> FileFromJson(const Json& json, const std::string& what) {
  ManifestFile file;
  ASSIGN_OR_RETURN(file.path, RelativePath(json, "path", what));
  ASSIGN_OR_RETURN(const int64_t size_bytes, JsonInt(json, "size_bytes", what));
  if (size_bytes < 0) return Malformed(what, absl::StrFormat("'size_bytes' is %d", size_bytes));
  file.size_bytes = static_cast<uint64_t>(size_bytes);
  ASSIGN_OR_RETURN(file.sha256, Digest(json, "sha256", /*may_be_empty=*/false, what));
  return file;
}

absl::StatusOr<ManifestSite> SiteFromJson(const Json& json, const std::string& what) {
  ManifestSite site;
  ASSIGN_OR_RETURN(site.name, Name(json, "name", what));
  ASSIGN_OR_RETURN(site.grid, Name(json, "grid", what));
  ASSIGN_OR_RETURN(site.description_json, ObjectText(json, "description", what));
  ASSIGN_OR_RETURN(site.rows, Size(json, "rows", what));
  ASSIGN_OR_RETURN(site.cols, Size(json, "cols", what));
  ASSIGN_OR_RETURN(site.file, RelativePath(json, "file", what));
  return site;
}

absl::StatusOr<ManifestExport> ExportFromJson(const Json& json, const std::string& what) {
  ManifestExport one;
  ASSIGN_OR_RETURN(one.format, Name(json, "format", what));
  ASSIGN_OR_RETURN(one.folder, RelativePath(json, "folder", what));
  ASSIGN_OR_RETURN(one.certificate_json, ObjectText(json, "certificate", what));
  return one;
}

template <typename T>
absl::StatusOr<std::vector<T>> ListFromJson(const Json& object, const char* key, absl::string_view what,
                                            absl::StatusOr<T> (*from_json)(const Json&, const std::string&)) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_array()) return Malformed(what, absl::StrFormat("'%s' must be a list", key));
  std::vector<T> items;
  for (const Json& element : *it) {
    const std::string element_name = absl::StrFormat("%s, %s[%d]", what, key, items.size());
    if (!element.is_object()) return Malformed(element_name, "must be an object");
    ASSIGN_OR_RETURN(T item, from_json(element, element_name));
    items.push_back(std::move(item));
  }
  return items;
}

absl::Status CheckVersion(const Json& json, absl::string_view what) {
  if (!json.is_object()) return Malformed(what, "is not an object");
  ASSIGN_OR_RETURN(const int64_t version, JsonInt(json, "schema_version", what));
  if (version > kManifestSchemaVersion) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "ARTIFACT_TOO_NEW",
                       absl::StrFormat("%s: schema version %d, this build reads up to %d; use a newer quantd", what,
                                       version, kManifestSchemaVersion));
  }
  if (version < 1) return Malformed(what, absl::StrFormat("schema version %d does not exist", version));
  return absl::OkStatus();
}

absl::Status CheckReferences(const Manifest& manifest, absl::string_view what) {
  std::set<std::string> paths;
  for (const ManifestFile& file : manifest.files) {
    if (!paths.insert(file.path).second)
      return Malformed(what, absl::StrFormat("file '%s' is listed twice", file.path));
  }
  std::set<std::string> names;
  for (const ManifestSite& site : manifest.sites) {
    if (!names.insert(site.name).second)
      return Malformed(what, absl::StrFormat("site '%s' is listed twice", site.name));
    if (paths.count(site.file) == 1) continue;
    return Malformed(what,
                     absl::StrFormat("site '%s' lies in '%s', which is not among the files", site.name, site.file));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Manifest> ManifestFromJson(const Json& json, absl::string_view what) {
  RETURN_IF_ERROR(CheckVersion(json, what));
  Manifest manifest;
  ASSIGN_OR_RETURN(manifest.recipe_json, ObjectText(json, "recipe", what));
  ASSIGN_OR_RETURN(manifest.model_fingerprint, Digest(json, "model_fingerprint", /*may_be_empty=*/false, what));
  ASSIGN_OR_RETURN(manifest.calibration_sha256, Digest(json, "calibration_sha256", /*may_be_empty=*/true, what));
  ASSIGN_OR_RETURN(manifest.evaluation_sha256, Digest(json, "evaluation_sha256", /*may_be_empty=*/true, what));
  ASSIGN_OR_RETURN(manifest.build_version, Name(json, "build_version", what));
  ASSIGN_OR_RETURN(manifest.files, ListFromJson(json, "files", what, &FileFromJson));
  ASSIGN_OR_RETURN(manifest.sites, ListFromJson(json, "sites", what, &SiteFromJson));
  ASSIGN_OR_RETURN(manifest.exports, ListFromJson(json, "exports", what, &ExportFromJson));
  RETURN_IF_ERROR(CheckReferences(manifest, what));
  return manifest;
}

}  // namespace quantd
