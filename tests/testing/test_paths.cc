#include "tests/testing/test_paths.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "core/base/file_system.h"

namespace quantd {
namespace {

std::string FromEnvironment(const char* name, const std::string& fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : fallback;
}

std::string SharedRoot() {
  return FromEnvironment("QUANTD_SHARED", JoinPath(SourceDir(), "../shared"));
}

std::optional<std::string> IfPresent(std::string path) {
  if (!RealFileSystem().Exists(path)) return std::nullopt;
  return path;
}

// Removes the directories when the process ends normally.
struct TempDirs {
  std::vector<std::string> paths;
  ~TempDirs() {
    for (const std::string& path : paths) (void)RealFileSystem().RemoveAll(path);
  }
};

std::string MakeDirBelow(const std::filesystem::path& parent) {
  static TempDirs dirs;
  std::string path = (parent / "quantd-test-XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) std::abort();
  dirs.paths.push_back(path);
  return path;
}

}  // namespace

std::string SourceDir() {
  return FromEnvironment("QUANTD_SOURCE_DIR", std::filesystem::current_path().string());
}

std::string SourcePath(absl::string_view relative) {
  return JoinPath(SourceDir(), relative);
}

std::string BinaryPath(absl::string_view name) {
  return JoinPath(FromEnvironment("QUANTD_BIN_DIR", SourcePath("build/release/bin")), name);
}

std::optional<std::string> SharedPath(absl::string_view relative) {
  return IfPresent(JoinPath(SharedRoot(), relative));
}

std::optional<std::string> GoldenPath(absl::string_view relative) {
  return IfPresent(JoinPath(FromEnvironment("QUANTD_GOLDEN", JoinPath(SharedRoot(), "golden")), relative));
}

std::string MakeTempDir() {
  return MakeDirBelow(std::filesystem::temp_directory_path());
}

std::string MakeMemoryDir() {
  const char* memory = "/dev/shm";
  return access(memory, W_OK | X_OK) == 0 ? MakeDirBelow(memory) : MakeTempDir();
}

}  // namespace quantd
