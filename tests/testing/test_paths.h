// Where tests find their data.
#ifndef QUANTD_TESTS_TESTING_TEST_PATHS_H_
#define QUANTD_TESTS_TESTING_TEST_PATHS_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

// The checkout: $QUANTD_SOURCE_DIR, set by ctest; else the working directory.
std::string SourceDir();
// A file of the checkout: SourcePath("data/models/quantd-tiny-llama").
std::string SourcePath(absl::string_view relative);
// Where the built binaries are: $QUANTD_BIN_DIR, set by ctest.
std::string BinaryPath(absl::string_view name);

// The folder of reference material, $QUANTD_SHARED (default ../shared beside the checkout); nothing when it is absent.
std::optional<std::string> SharedPath(absl::string_view relative);
// Golden values, $QUANTD_GOLDEN (default golden/ in the folder above); nothing when absent.
std::optional<std::string> GoldenPath(absl::string_view relative);

// A fresh empty directory under the system's temporary directory, removed at the end of the process.
std::string MakeTempDir();
// The same in memory where the system has such a folder: for simulated disks, which no real one need slow down.
std::string MakeMemoryDir();

}  // namespace quantd

// In a test body: skips it, loudly, when `path` (an optional) is empty.
#define SKIP_UNLESS_PRESENT(path, what)                                                                           \
  if (!(path).has_value()) {                                                                                      \
    GTEST_SKIP() << "SKIPPED: " << (what) << " is not here; set QUANTD_SHARED or QUANTD_GOLDEN to run this test"; \
  }

#endif  // QUANTD_TESTS_TESTING_TEST_PATHS_H_
