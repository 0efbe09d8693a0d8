// Windows of real texts against an independent implementation: the tokenizer's share of golden/perplexity.json (the
// model's share is tested in core/eval).
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/text/corpus.h"
#include "core/text/tokenizer.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// Looked for beside the golden folder, in the shared folder, then in the checkout.
std::optional<std::string> Find(const std::string& relative, const std::string& in_checkout) {
  if (auto beside_golden = GoldenPath(absl::StrCat("../", relative))) return beside_golden;
  if (auto shared = SharedPath(relative)) return shared;
  const std::string own = SourcePath(in_checkout);
  return RealFileSystem().Exists(own) ? std::optional(own) : std::nullopt;
}

// "models/NAME", or a sentence that ends in the path of a file beside the tokenizer.
std::optional<std::string> FindTokenizerFolder(const std::string& model) {
  const std::string path = model.substr(model.rfind(' ') + 1);
  const auto found = Find(path, absl::StrCat("data/", path));
  if (!found.has_value() || RealFileSystem().IsDirectory(*found)) return found;
  return DirectoryName(*found);
}

void CheckEntry(const std::string& folder, const std::string& text, const Json& entry) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, OpenTokenizer(folder));
  ASSERT_OK_AND_ASSIGN(const Corpus corpus, ReadCorpus(text));
  ASSERT_EQ(corpus.sha256, entry["text_sha256"].get<std::string>()) << text << " is not the text that was meant";
  const Json& protocol = entry["protocol"];
  const bool bos = protocol["bos_in_each_window"];
  ASSERT_OK_AND_ASSIGN(const EvaluationTokens tokens,
                       EvaluationWindows(corpus, *tokenizer, bos ? "bos" : "plain", protocol["context"].get<int64_t>(),
                                         entry["windows"].get<int64_t>()));
  EXPECT_EQ(tokens.text_tokens, entry["tokens_of_text"].get<int64_t>());
  ASSERT_EQ(static_cast<int64_t>(tokens.windows.size()), entry["windows"].get<int64_t>());
  int64_t targets = 0;
  for (const EvaluationWindow& window : tokens.windows) {
    targets += static_cast<int64_t>(window.tokens.size()) - window.first_target;
  }
  EXPECT_EQ(targets, entry["targets"].get<int64_t>());
  TokenSequence first = tokens.windows[0].tokens;
  const TokenSequence expected = entry["first_window_first_ids"];
  first.resize(std::min(first.size(), expected.size()));
  EXPECT_EQ(first, expected);
  if (!bos) return;
  EXPECT_EQ(tokenizer->bos_id(), protocol["bos_id"].get<int32_t>());
}

// The number of entries checked. Other modes than "plain" are windows of the model's training, which quantd lacks.
int CheckFile(const std::string& path) {
  const auto entries = ReadJsonFile(path);
  EXPECT_OK(entries);
  if (!entries.ok()) return 0;
  int checked = 0;
  for (const auto& [name, entry] : entries->items()) {
    if (entry["protocol"]["mode"] != "plain") continue;
    SCOPED_TRACE(name);
    const auto folder = FindTokenizerFolder(entry["model"].get<std::string>());
    const std::string text_path = entry["text"].get<std::string>();
    const auto text = Find(text_path, text_path);
    if (!folder.has_value() || !text.has_value()) {
      std::cerr << "SKIPPED: the tokenizer or the text of " << name << " is not here\n";
      continue;
    }
    CheckEntry(*folder, *text, entry);
    ++checked;
  }
  return checked;
}

TEST(GoldenWindowsTest, OfTheEmbeddedModels) {
  EXPECT_EQ(CheckFile(SourcePath("tests/data/perplexity.json")), 2);
}

TEST(GoldenWindowsTest, OfEveryTokenizerInTheFolder) {
  const auto path = GoldenPath("perplexity.json");
  SKIP_UNLESS_PRESENT(path, "golden/perplexity.json");
  if (CheckFile(*path) == 0) GTEST_SKIP() << "SKIPPED: no tokenizer of golden/perplexity.json is here";
}

}  // namespace
}  // namespace quantd
