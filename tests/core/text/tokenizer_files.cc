#include "tests/core/text/tokenizer_files.h"

#include <nlohmann/json.hpp>

#include "core/base/file_system.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {

Json SmallTokenizerDocument() {
  return Json::parse(R"({
      "version": "1.0",
      "added_tokens": [{"id": 4, "content": "<s>", "special": true}],
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
      "decoder": {"type": "ByteLevel"},
      "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": [["a", "b"]]}})");
}

std::string AddFile(const std::string& folder, const std::string& name, absl::string_view bytes) {
  const std::string path = JoinPath(folder, name);
  EXPECT_OK(WriteFileDurably(RealFileSystem(), path, bytes));
  return path;
}

std::string FolderWith(const std::string& name, absl::string_view bytes) {
  const std::string folder = MakeTempDir();
  AddFile(folder, name, bytes);
  return folder;
}

}  // namespace quantd
