#include "tests/core/model/golden_tensors.h"

#include "core/base/file_system.h"
#include "core/model/model_config.h"
#include "tests/testing/status_matchers.h"

namespace quantd {

int ForEachGoldenModel(const std::string& root, const std::function<void(const std::string& folder)>& check) {
  int found = 0;
  const auto names = RealFileSystem().ListDirectory(root);
  EXPECT_OK(names);
  for (const std::string& name : *names) {
    const std::string folder = root + "/" + name;
    if (!RealFileSystem().Exists(folder + "/golden.json")) continue;
    if (const auto config = ReadModelConfig(folder + "/config.json"); !config.ok()) {
      EXPECT_THAT(config, FailsWith("ARCHITECTURE_UNKNOWN", "known are llama")) << name;
      continue;
    }
    check(folder);
    ++found;
  }
  return found;
}

}  // namespace quantd
