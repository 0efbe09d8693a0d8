#include "core/formats/model_files.h"

#include "core/base/sha256.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::ElementsAre;

FileSystem& files = RealFileSystem();

void WriteAll(const std::string& folder, const std::vector<std::pair<std::string, std::string>>& contents) {
  for (const auto& [name, bytes] : contents) ASSERT_OK(WriteFileDurably(files, JoinPath(folder, name), bytes));
}

std::string SmallModel() {
  const std::string folder = MakeTempDir();
  WriteAll(folder, {{"config.json", "{}"},
                    {"tokenizer.json", "{\"a\":1}"},
                    {"model.safetensors", "w"},
                    {"README.md", "words"},
                    {"LICENSE.txt", "terms"}});
  return folder;
}

TEST(ModelFiles, KnowsWhatIsCopied) {
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
        "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "LICENSE",
        "LICENSE.md", "license", "LICENCE", "NOTICE", "USE_POLICY.md"}) {
    EXPECT_TRUE(IsCopiedModelFile(name)) << name;
  }
  for (const char* name : {"README.md", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "modeling_x.py", "quantize_config.json", ".gitattributes", "config.json.bak", ""}) {
    EXPECT_FALSE(IsCopiedModelFile(name)) << name;
  }
}

TEST(ModelFiles, AreCopiedByteForByte) {
  const std::string from = SmallModel();
  const std::string to = MakeTempDir();
  ASSERT_OK(files.CreateDirectories(JoinPath(from, "LICENSES")));  // a folder is not a file to copy
  ASSERT_OK(CopyModelFiles(files, from, to));
  EXPECT_THAT(*files.ListDirectory(to), ElementsAre("LICENSE.txt", "config.json", "tokenizer.json"));
  EXPECT_EQ(*files.ReadFile(JoinPath(to, "tokenizer.json"), 100), "{\"a\":1}");
  EXPECT_THAT(CopyModelFiles(files, JoinPath(from, "absent"), to), FailsWith("FILE_NOT_FOUND", "absent"));
}

TEST(ModelFingerprint, IsTheDocumentedDigest) {
  std::string lines;
  for (const auto& [name, bytes] :
       std::vector<std::pair<std::string, std::string>>{{"LICENSE.txt 5 ", "terms"},
                                                        {"config.json 2 ", "{}"},
                                                        {"model.safetensors 1 ", "w"},
                                                        {"tokenizer.json 7 ", "{\"a\":1}"}}) {
    lines += name + Sha256Hex(bytes) + "\n";
  }
  EXPECT_EQ(*ModelFingerprint(files, SmallModel()), Sha256Hex(lines));
}

TEST(ModelFingerprint, ChangesWithEveryByteThatMatters) {
  const std::string original = *ModelFingerprint(files, SmallModel());
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors", "model-2.safetensors"}) {
    const std::string folder = SmallModel();
    WriteAll(folder, {{name, "X"}});
    EXPECT_NE(*ModelFingerprint(files, folder), original) << name;
  }
  const std::string folder = SmallModel();
  WriteAll(folder, {{"README.md", "other words"}});
  EXPECT_EQ(*ModelFingerprint(files, folder), original) << "a README changes nothing";
}

}  // namespace
}  // namespace quantd
