// manifest.json of an artifact folder: what the artifact is, from what it was made, and the digest of every file.
// docs/formats/manifest.md has every field. It holds no time, host name or path outside the folder, so that equal
// inputs give equal bytes.
#ifndef QUANTD_CORE_FORMATS_MANIFEST_H_
#define QUANTD_CORE_FORMATS_MANIFEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/file_system.h"
#include "core/base/json.h"

namespace quantd {

inline constexpr int64_t kManifestSchemaVersion = 1;
inline constexpr char kManifestFileName[] = "manifest.json";

struct ManifestFile {
  std::string path;  // relative, below the folder: "model.safetensors", "exports/gptq/config.json"
  uint64_t size_bytes = 0;
  std::string sha256;  // 64 lower-case hex digits
};

// One quantized linear.
struct ManifestSite {
  std::string name;              // "model.layers.0.mlp.up_proj"
  std::string grid;              // kind() of the weight: "uniform"
  std::string description_json;  // Description() of the weight, an object
  int64_t rows = 0;
  int64_t cols = 0;
  std::string file;  // the safetensors file with its tensors, one of `files`
};

struct ManifestExport {
  std::string format;            // "gptq"
  std::string folder;            // "exports/gptq"
  std::string certificate_json;  // how the export was read back and compared, an object
};

// Members named *_json hold the text of one JSON object; the manifest keeps them without looking inside.
struct Manifest {
  std::string recipe_json = "{}";
  std::string model_fingerprint;   // ModelFingerprint of the source folder
  std::string calibration_sha256;  // of the bytes of the text; empty: none was used
  std::string evaluation_sha256;
  std::string build_version;
  std::vector<ManifestFile> files;  // sorted by path
  std::vector<ManifestSite> sites;  // in the order of the model
  std::vector<ManifestExport> exports;
};

Json ManifestToJson(const Manifest& manifest);

// Hostile input: every field is checked, and files named by sites are among `files`. `what` names the document.
// Reasons: ARTIFACT_TOO_NEW (schema version above ours), ARTIFACT_MALFORMED, JSON_FIELD_MISSING, JSON_FIELD_TYPE.
absl::StatusOr<Manifest> ManifestFromJson(const Json& json, absl::string_view what);

bool IsArtifactFolder(const std::string& folder);  // has a manifest.json
absl::StatusOr<Manifest> ReadManifest(const std::string& folder);
// Last of all, once every file it names is durable.
absl::Status WriteManifest(FileSystem& files, const std::string& folder, const Manifest& manifest);

// Digest and size of a file of the folder, for `files`.
absl::StatusOr<ManifestFile> DescribeFile(const std::string& folder, const std::string& path);

// Every listed file is there with its size and digest. Reads all bytes. ARTIFACT_FILE_MISSING, ARTIFACT_FILE_CHANGED.
absl::Status VerifyFiles(const Manifest& manifest, const std::string& folder);

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_MANIFEST_H_
