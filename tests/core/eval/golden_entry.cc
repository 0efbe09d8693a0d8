#include "tests/core/eval/golden_entry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/base/file_system.h"
#include "core/base/status.h"
#include "core/formats/checkpoint.h"
#include "core/text/tokenizer.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

std::optional<std::string> FindFile(const std::string& relative, const std::string& in_checkout) {
  if (auto beside_golden = GoldenPath(absl::StrCat("../", relative))) return beside_golden;
  if (auto shared = SharedPath(relative)) return shared;
  const std::string own = SourcePath(in_checkout);
  return RealFileSystem().Exists(own) ? std::optional(own) : std::nullopt;
}

std::optional<std::string> FindModel(const std::string& name, const Json& entry) {
  if (IsSmolLm2(name)) {
    const char* folder = std::getenv("QUANTD_SMOLLM2");
    return folder != nullptr && *folder != '\0' ? std::optional<std::string>(folder) : std::nullopt;
  }
  const std::string model = entry["model"];
  return FindFile(model, absl::StrCat("data/", model));
}

void AddWindow(const TokenSequence& ids, EvaluationTokens& tokens) {
  tokens.windows.push_back({ids, 1});
}

bool IsAscii(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), absl::ascii_isascii);
}

// Each story is one window: BOS + ids cut to the context; blank lines become single newlines. `entry` says how many
// stories there are.
absl::StatusOr<EvaluationTokens> StoryWindows(const Corpus& corpus, const Tokenizer& tokenizer, const Json& entry) {
  const size_t context = entry["protocol"]["context"];
  EvaluationTokens tokens;
  for (const std::string& story : corpus.documents) {
    if (tokens.windows.size() == entry["windows"].get<size_t>()) break;
    if (!IsAscii(story)) continue;
    ASSIGN_OR_RETURN(const TokenSequence ids, tokenizer.Encode(absl::StrReplaceAll(story, {{"\n\n", "\n"}})));
    tokens.text_tokens += static_cast<int64_t>(ids.size());
    TokenSequence window = {entry["protocol"]["bos_id"].get<int32_t>()};
    window.insert(window.end(), ids.begin(), ids.begin() + static_cast<int64_t>(std::min(ids.size(), context - 1)));
    AddWindow(window, tokens);
  }
  return tokens;
}

// The file is split at blank lines and each paragraph plus one newline encoded alone; the ids are one stream.
absl::StatusOr<EvaluationTokens> ParagraphWindows(const Corpus& corpus, const Tokenizer& tokenizer, const Json& entry) {
  TokenSequence stream;
  for (const absl::string_view paragraph : absl::StrSplit(corpus.documents.front(), "\n\n")) {
    ASSIGN_OR_RETURN(const TokenSequence ids, tokenizer.Encode(absl::StrCat(paragraph, "\n")));
    stream.insert(stream.end(), ids.begin(), ids.end());
  }
  EvaluationTokens tokens;
  tokens.text_tokens = static_cast<int64_t>(stream.size());
  const int64_t context = entry["protocol"]["context"];
  for (auto at = stream.begin(); stream.end() - at >= context; at += context) AddWindow({at, at + context}, tokens);
  return tokens;
}

absl::StatusOr<EvaluationTokens> Windows(const Corpus& corpus, const Tokenizer& tokenizer, const Json& entry) {
  const Json& protocol = entry["protocol"];
  if (protocol["mode"] == "stories") return StoryWindows(corpus, tokenizer, entry);
  if (protocol["mode"] == "paragraphs") return ParagraphWindows(corpus, tokenizer, entry);
  return EvaluationWindows(corpus, tokenizer, protocol["bos_in_each_window"] ? "bos" : "plain", protocol["context"], 0);
}

absl::StatusOr<GoldenCase> Open(const std::string& folder, const std::string& text, const Json& entry) {
  GoldenCase golden;
  golden.folder = folder;
  ASSIGN_OR_RETURN(std::shared_ptr<const WeightSource> weights, OpenCheckpoint(folder));
  ASSIGN_OR_RETURN(golden.model, Transformer::Open(folder, std::move(weights)));
  ASSIGN_OR_RETURN(const Corpus corpus, ReadCorpus(text));
  if (corpus.sha256 != entry["text_sha256"]) {
    return InvalidInput("TEXT_DIFFERS", absl::StrCat(text, " is not the text that the entry was made with"));
  }
  ASSIGN_OR_RETURN(const auto tokenizer, OpenTokenizer(folder));
  ASSIGN_OR_RETURN(golden.tokens, Windows(corpus, *tokenizer, entry));
  return golden;
}

double Parameters(const Transformer& model) {
  double count = static_cast<double>(model.config().vocabulary_size * model.config().hidden_size);
  for (const LinearSite& site : model.sites()) count += static_cast<double>(site.rows * site.cols);
  return count;
}

}  // namespace

bool IsSmolLm2(const std::string& name) {
  return absl::StartsWith(name, "smollm2/");
}

std::optional<absl::StatusOr<GoldenCase>> OpenGoldenCase(const std::string& name, const Json& entry) {
  const std::optional<std::string> folder = FindModel(name, entry);
  const std::optional<std::string> text = FindFile(entry["text"], entry["text"]);
  if (!folder || !text) return std::nullopt;
  return Open(*folder, *text, entry);
}

int64_t KeepFirstWindows(GoldenCase& golden, int64_t expected) {
  constexpr double kMostMultiplyAdds = 1e11;
  std::vector<EvaluationWindow>& windows = golden.tokens.windows;
  const double per_token = Parameters(*golden.model);
  double total = 0;
  size_t keep = 0;
  while (keep < windows.size() && static_cast<int64_t>(keep) < expected) {
    total += per_token * static_cast<double>(windows[keep].tokens.size());
    if (keep > 0 && total > kMostMultiplyAdds) break;
    ++keep;
  }
  windows.resize(keep);
  return static_cast<int64_t>(keep);
}

int ForEachGoldenEntry(const Json& entries, const std::function<bool(const std::string& name)>& wanted,
                       const std::function<void(const std::string&, const Json&, GoldenCase&)>& check) {
  int checked = 0;
  for (const auto& [name, entry] : entries.items()) {
    if (!wanted(name)) continue;
    SCOPED_TRACE(name);
    auto golden = OpenGoldenCase(name, entry);
    if (!golden) {
      std::cerr << "SKIPPED: the model or the text of " << name << " is not here\n";
      continue;
    }
    if (!golden->ok()) {
      ADD_FAILURE() << golden->status().ToString();
      continue;
    }
    check(name, entry, **golden);
    ++checked;
  }
  return checked;
}

}  // namespace quantd
