#include "core/formats/manifest.h"

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/sha256.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// An artifact of two files, one in a subfolder, described by a manifest that is returned.
Manifest WriteArtifact(const std::string& folder) {
  FileSystem& files = RealFileSystem();
  EXPECT_OK(WriteFileDurably(files, JoinPath(folder, "model.safetensors"), "weights"));
  EXPECT_OK(files.CreateDirectories(JoinPath(folder, "exports/gptq")));
  EXPECT_OK(WriteFileDurably(files, JoinPath(folder, "exports/gptq/config.json"), "{}"));
  Manifest manifest;
  manifest.recipe_json = R"({"preset":"gptq","bits":4})";
  manifest.model_fingerprint = Sha256Hex("model");
  manifest.calibration_sha256 = Sha256Hex("tokens");
  manifest.build_version = "0.1.0";
  for (const char* path : {"exports/gptq/config.json", "model.safetensors"}) {
    const auto file = DescribeFile(folder, path);
    EXPECT_OK(file);
    if (file.ok()) manifest.files.push_back(*file);
  }
  manifest.sites.push_back({.name = "layers.0.fc",
                            .grid = "uniform",
                            .description_json = R"({"bits":4})",
                            .rows = 8,
                            .cols = 16,
                            .file = "model.safetensors"});
  manifest.exports.push_back({.format = "gptq", .folder = "exports/gptq", .certificate_json = R"({"exact":true})"});
  return manifest;
}

TEST(Manifest, IsReadBackAsWritten) {
  const std::string folder = MakeTempDir();
  EXPECT_FALSE(IsArtifactFolder(folder));
  const Manifest written = WriteArtifact(folder);
  ASSERT_OK(WriteManifest(RealFileSystem(), folder, written));
  EXPECT_TRUE(IsArtifactFolder(folder));
  ASSERT_OK_AND_ASSIGN(const Manifest read, ReadManifest(folder));
  EXPECT_EQ(ManifestToJson(read), ManifestToJson(written));
  ASSERT_EQ(read.files.size(), 2u);
  EXPECT_EQ(read.files[1].size_bytes, 7u);
  EXPECT_EQ(read.files[1].sha256, Sha256Hex("weights"));
  ASSERT_EQ(read.sites.size(), 1u);
  EXPECT_EQ(read.sites[0].description_json, R"({"bits":4})");
  EXPECT_EQ(read.sites[0].cols, 16);
  EXPECT_EQ(read.exports[0].certificate_json, R"({"exact":true})");
  EXPECT_EQ(read.evaluation_sha256, "");
  EXPECT_OK(VerifyFiles(read, folder));
}

TEST(Manifest, EqualArtifactsHaveEqualBytes) {
  const std::string folders[] = {MakeTempDir(), MakeTempDir()};
  std::string texts[2];
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK(WriteManifest(RealFileSystem(), folders[i], WriteArtifact(folders[i])));
    ASSERT_OK_AND_ASSIGN(texts[i], RealFileSystem().ReadFile(JoinPath(folders[i], kManifestFileName), 1 << 20));
  }
  EXPECT_EQ(texts[0], texts[1]);
}

TEST(Manifest, ABrokenOneIsNotWritten) {
  const std::string folder = MakeTempDir();
  Manifest manifest = WriteArtifact(folder);
  manifest.recipe_json = "{not json";
  EXPECT_THAT(WriteManifest(RealFileSystem(), folder, manifest), FailsWith("ARTIFACT_MALFORMED", "'recipe'"));
  EXPECT_FALSE(IsArtifactFolder(folder));
}

struct BadManifest {
  const char* name;
  std::function<void(Json&)> spoil;
  const char* reason;
  const char* mentions;
};

std::vector<BadManifest> BadManifests() {
  return {
      {"NotAnObject", [](Json& j) { j = Json::array(); }, "ARTIFACT_MALFORMED", "not an object"},
      {"NoVersion", [](Json& j) { j.erase("schema_version"); }, "JSON_FIELD_MISSING", "schema_version"},
      {"VersionTwo", [](Json& j) { j["schema_version"] = 2; }, "ARTIFACT_TOO_NEW", "use a newer quantd"},
      {"VersionZero", [](Json& j) { j["schema_version"] = 0; }, "ARTIFACT_MALFORMED", "schema version 0"},
      {"VersionAsText", [](Json& j) { j["schema_version"] = "1"; }, "JSON_FIELD_TYPE", "schema_version"},
      {"RecipeIsAList", [](Json& j) { j["recipe"] = Json::array(); }, "ARTIFACT_MALFORMED", "'recipe'"},
      {"NoFingerprint", [](Json& j) { j["model_fingerprint"] = ""; }, "ARTIFACT_MALFORMED", "'model_fingerprint'"},
      {"DigestInCapitals", [](Json& j) { j["model_fingerprint"] = std::string(64, 'A'); }, "ARTIFACT_MALFORMED",
       "lower-case"},
      {"DigestTooShort", [](Json& j) { j["calibration_sha256"] = "abc"; }, "ARTIFACT_MALFORMED",
       "'calibration_sha256'"},
      {"NoFiles", [](Json& j) { j.erase("files"); }, "ARTIFACT_MALFORMED", "'files'"},
      {"FilesIsAnObject", [](Json& j) { j["files"] = Json::object(); }, "ARTIFACT_MALFORMED", "'files'"},
      {"FileIsText", [](Json& j) { j["files"][1] = "x"; }, "ARTIFACT_MALFORMED", "files[1]"},
      {"PathUpwards", [](Json& j) { j["files"][0]["path"] = "../x"; }, "ARTIFACT_MALFORMED", "'../x'"},
      {"PathUpwardsInside", [](Json& j) { j["files"][0]["path"] = "a/../../x"; }, "ARTIFACT_MALFORMED", "'a/../../x'"},
      {"AbsolutePath", [](Json& j) { j["files"][0]["path"] = "/etc/passwd"; }, "ARTIFACT_MALFORMED", "'/etc/passwd'"},
      {"EmptyPath", [](Json& j) { j["files"][0]["path"] = ""; }, "ARTIFACT_MALFORMED", "'path'"},
      {"LongPath", [](Json& j) { j["files"][0]["path"] = std::string(2000, 'x'); }, "ARTIFACT_MALFORMED", "'path'"},
      {"PathWithNewline", [](Json& j) { j["files"][0]["path"] = "a\nb"; }, "ARTIFACT_MALFORMED", "'path'"},
      {"SameFileTwice", [](Json& j) { j["files"][0] = j["files"][1]; }, "ARTIFACT_MALFORMED", "listed twice"},
      {"NegativeFileSize", [](Json& j) { j["files"][0]["size_bytes"] = -1; }, "ARTIFACT_MALFORMED", "'size_bytes'"},
      {"FloatFileSize", [](Json& j) { j["files"][0]["size_bytes"] = 2.0; }, "JSON_FIELD_TYPE", "'size_bytes'"},
      {"NoDigestOfFile", [](Json& j) { j["files"][0]["sha256"] = ""; }, "ARTIFACT_MALFORMED", "'sha256'"},
      {"SiteWithoutRows", [](Json& j) { j["sites"][0]["rows"] = 0; }, "ARTIFACT_MALFORMED", "'rows'"},
      {"SiteTooWide", [](Json& j) { j["sites"][0]["cols"] = int64_t{1} << 40; }, "ARTIFACT_MALFORMED", "'cols'"},
      {"SiteTwice", [](Json& j) { j["sites"].push_back(j["sites"][0]); }, "ARTIFACT_MALFORMED", "'layers.0.fc'"},
      {"SiteInAnUnlistedFile", [](Json& j) { j["sites"][0]["file"] = "other.safetensors"; }, "ARTIFACT_MALFORMED",
       "'other.safetensors'"},
      {"DescriptionIsText", [](Json& j) { j["sites"][0]["description"] = "x"; }, "ARTIFACT_MALFORMED", "'description'"},
      {"NoGrid", [](Json& j) { j["sites"][0].erase("grid"); }, "JSON_FIELD_MISSING", "'grid'"},
      {"NoCertificate", [](Json& j) { j["exports"][0].erase("certificate"); }, "ARTIFACT_MALFORMED", "'certificate'"},
      {"ExportOutside", [](Json& j) { j["exports"][0]["folder"] = ".."; }, "ARTIFACT_MALFORMED", "'folder'"},
  };
}

class BadManifestTest : public testing::TestWithParam<BadManifest> {};

TEST_P(BadManifestTest, IsRefusedWithReasonAndName) {
  Json json = ManifestToJson(WriteArtifact(MakeTempDir()));
  ASSERT_OK(ManifestFromJson(json, "m")) << "good before it is spoilt";
  GetParam().spoil(json);
  EXPECT_THAT(ManifestFromJson(json, "m"), FailsWith(GetParam().reason, GetParam().mentions));
}
INSTANTIATE_TEST_SUITE_P(Table, BadManifestTest, testing::ValuesIn(BadManifests()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(VerifyFiles, FindsEveryChange) {
  const std::string folder = MakeTempDir();
  const Manifest manifest = WriteArtifact(folder);
  const std::string path = JoinPath(folder, "model.safetensors");
  FileSystem& files = RealFileSystem();
  ASSERT_OK(WriteFileDurably(files, path, "Weights"));
  EXPECT_THAT(VerifyFiles(manifest, folder), FailsWith("ARTIFACT_FILE_CHANGED", "model.safetensors"));
  ASSERT_OK(WriteFileDurably(files, path, "weights and more"));
  EXPECT_THAT(VerifyFiles(manifest, folder), FailsWith("ARTIFACT_FILE_CHANGED", "16 bytes"));
  ASSERT_OK(files.RemoveFile(path));
  EXPECT_THAT(VerifyFiles(manifest, folder), FailsWith("ARTIFACT_FILE_MISSING", "model.safetensors"));
  const std::string outside = JoinPath(MakeTempDir(), "elsewhere");
  ASSERT_OK(WriteFileDurably(files, outside, "weights"));
  std::filesystem::create_symlink(outside, path);
  EXPECT_THAT(VerifyFiles(manifest, folder), FailsWith("PATH_ESCAPES_ROOT", "model.safetensors"));
  std::filesystem::remove(path);
  ASSERT_OK(WriteFileDurably(files, path, "weights"));
  EXPECT_OK(VerifyFiles(manifest, folder));
}

}  // namespace
}  // namespace quantd
