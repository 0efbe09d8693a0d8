// Every tokenizer against vectors from the reference libraries (golden/tokenizers, and a copy in
// tests/data/tokenizers).
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/sha256.h"
#include "core/text/tokenizer.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using Ids = std::vector<int32_t>;

struct VectorFile {
  std::string path;
  std::string base;  // what "folder" in the file is relative to
};

// Every JSON file of `folder` that holds vectors.
std::vector<VectorFile> VectorFiles(const std::string& folder, const std::string& base) {
  std::vector<VectorFile> files;
  const auto names = RealFileSystem().ListDirectory(folder);
  EXPECT_OK(names);
  if (!names.ok()) return files;
  for (const std::string& name : *names) {
    if (!absl::EndsWith(name, ".json")) continue;
    const auto document = ReadJsonFile(JoinPath(folder, name));
    EXPECT_OK(document);
    if (document.ok() && document->is_object() && document->contains("vectors")) {
      files.push_back({JoinPath(folder, name), base});
    }
  }
  return files;
}

void CheckVector(const Tokenizer& tokenizer, const Json& vector) {
  SCOPED_TRACE(vector["name"].dump());
  const std::string text = vector["text"].get<std::string>();
  const auto ids = tokenizer.Encode(text);
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, vector["ids"].get<Ids>());
  const auto with_special = tokenizer.EncodeWithSpecial(text);
  ASSERT_OK(with_special);
  EXPECT_EQ(*with_special, vector["ids_with_special"].get<Ids>());
  EXPECT_EQ(tokenizer.Decode(*ids, /*skip_special=*/false), vector["decoded"].get<std::string>());
  EXPECT_EQ(tokenizer.Decode(*with_special, /*skip_special=*/true), vector["decoded_skip_special"].get<std::string>());
  const auto tokens = vector["tokens"].get<std::vector<std::string>>();
  ASSERT_EQ(tokens.size(), ids->size());
  for (size_t i = 0; i < tokens.size(); ++i) EXPECT_EQ(tokenizer.Piece((*ids)[i]), tokens[i]);
}

void CheckDecode(const Tokenizer& tokenizer, const Json& row) {
  const Ids ids = row["ids"].get<Ids>();
  SCOPED_TRACE(row["ids"].dump());
  EXPECT_EQ(tokenizer.Decode(ids, /*skip_special=*/false), row["decoded"].get<std::string>());
  EXPECT_EQ(tokenizer.Decode(ids, /*skip_special=*/true), row["decoded_skip_special"].get<std::string>());
}

void CheckSentencePiece(const std::string& path, const Json& vectors) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, OpenSentencePiece(path));
  for (const Json& vector : vectors) {
    SCOPED_TRACE(vector["name"].dump());
    const auto ids = tokenizer->Encode(vector["text"].get<std::string>());
    ASSERT_OK(ids);
    EXPECT_EQ(*ids, vector["sentencepiece_ids"].get<Ids>());
  }
}

// vocab.json and merges.txt say the same as the tokenizer.json beside them.
void CheckVocabAndMerges(const std::string& folder, const Json& vectors) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, OpenVocabAndMerges(folder));
  for (const Json& vector : vectors) CheckVector(*tokenizer, vector);
}

void CheckFilesAreTheOnesMeant(const std::string& folder, const Json& digests) {
  for (const auto& [name, digest] : digests.items()) {
    ASSERT_OK_AND_ASSIGN(const std::string found, Sha256OfFile(JoinPath(folder, name)));
    ASSERT_EQ(found, digest.get<std::string>())
        << JoinPath(folder, name) << " is not the file the vectors were made from";
  }
}

void CheckAll(const std::string& folder, const Json& golden) {
  CheckFilesAreTheOnesMeant(folder, golden["sha256"]);
  if (testing::Test::HasFatalFailure()) return;
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, OpenTokenizer(folder));
  EXPECT_EQ(tokenizer->vocabulary_size(), golden["vocab_size"].get<int32_t>());
  for (const Json& vector : golden["vectors"]) CheckVector(*tokenizer, vector);
  for (const Json& row : golden["decode"]) CheckDecode(*tokenizer, row);
  const std::string model = JoinPath(folder, "tokenizer.model");
  if (RealFileSystem().Exists(model)) CheckSentencePiece(model, golden["vectors"]);
  if (RealFileSystem().Exists(JoinPath(folder, "vocab.json"))) CheckVocabAndMerges(folder, golden["vectors"]);
}

bool HoldsTheFiles(const std::string& folder, const Json& digests) {
  for (const auto& [name, digest] : digests.items()) {
    const auto found = Sha256OfFile(JoinPath(folder, name));
    if (!found.ok() || *found != digest.get<std::string>()) return false;
  }
  return true;
}

// Where the vectors' tokenizer is: the folder they name, or, for vectors that were made elsewhere, whichever model of
// the shared folder has the same tokenizer files. Empty: nowhere.
std::string TokenizerFolder(const Json& golden, const std::string& base) {
  if (golden.contains("folder")) {
    const std::string named = JoinPath(base, golden["folder"].get<std::string>());
    if (RealFileSystem().IsDirectory(named)) return named;
  }
  const auto models = SharedPath("models");
  if (!models.has_value()) return "";
  const auto names = RealFileSystem().ListDirectory(*models);
  if (!names.ok()) return "";
  for (const std::string& name : *names) {
    const std::string folder = JoinPath(*models, name);
    if (HoldsTheFiles(folder, golden["sha256"])) return folder;
  }
  return "";
}

// Skips a file whose tokenizer is not here; returns whether it was checked.
bool CheckVectorFile(const VectorFile& file) {
  SCOPED_TRACE(file.path);
  const auto golden = ReadJsonFile(file.path);
  EXPECT_OK(golden);
  if (!golden.ok()) return false;
  const std::string folder = TokenizerFolder(*golden, file.base);
  if (folder.empty()) {
    std::cerr << "SKIPPED: " << file.path << ": its tokenizer is not here\n";
    return false;
  }
  EXPECT_FALSE((*golden)["vectors"].empty());
  CheckAll(folder, *golden);
  return true;
}

TEST(TokenizerGoldenTest, EveryVectorOfTheGoldenFolderIsReproduced) {
  const auto folder = GoldenPath("tokenizers");
  SKIP_UNLESS_PRESENT(folder, "golden/tokenizers");
  int checked = 0;
  for (const VectorFile& file : VectorFiles(*folder, DirectoryName(*folder))) checked += CheckVectorFile(file) ? 1 : 0;
  EXPECT_GT(checked, 0) << "no tokenizer of the golden folder was found: this test would pass for nothing";
}

TEST(TokenizerGoldenTest, EveryVectorInTheCheckoutIsReproduced) {
  const std::vector<VectorFile> files = VectorFiles(SourcePath("tests/data/tokenizers"), SourceDir());
  EXPECT_EQ(files.size(), 2u);
  for (const VectorFile& file : files) EXPECT_TRUE(CheckVectorFile(file));
}

}  // namespace
}  // namespace quantd
