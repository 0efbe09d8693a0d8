#include "core/text/corpus.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/sha256.h"
#include "core/text/text_check.h"
#include "core/text/utf8.h"

namespace quantd {
namespace {

// The whole document is held parsed, at up to thirty times its size. JSON lines are parsed one by one.
constexpr uint64_t kMaxJsonListBytes = uint64_t{64} << 20;

absl::Status Malformed(const std::string& path, absl::string_view place, absl::string_view problem) {
  return InvalidInput("JSONL_MALFORMED", absl::StrFormat("%s: %s: %s", path, place, problem));
}

absl::Status CheckUtf8(const std::string& path, absl::string_view bytes) {
  const std::optional<size_t> invalid = FirstInvalidUtf8(bytes);
  if (!invalid.has_value()) return absl::OkStatus();
  return InvalidInput("TEXT_NOT_UTF8",
                      absl::StrFormat("%s: byte %d (0x%02X) is not UTF-8; convert the file, e.g. with iconv", path,
                                      *invalid, static_cast<unsigned char>(bytes[*invalid])));
}

absl::Status ReadJsonLines(absl::string_view bytes, Corpus* corpus) {
  int64_t line_number = 0;
  for (absl::string_view line : absl::StrSplit(bytes, '\n')) {
    ++line_number;
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    const std::string place = absl::StrFormat("line %d", line_number);
    const absl::StatusOr<Json> value = ParseJson(line, place);
    if (!value.ok()) return Malformed(corpus->path, place, value.status().message());
    const auto text = value->find("text");
    if (!value->is_object() || text == value->end() || !text->is_string()) {
      return Malformed(corpus->path, place, "must be an object with a text as 'text'");
    }
    corpus->documents.push_back(text->get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status ReadJsonList(absl::string_view bytes, Corpus* corpus) {
  const absl::StatusOr<Json> list = ParseJson(bytes, "the file", kMaxJsonListBytes);
  if (ReasonOf(list.status()) == "JSON_TOO_LARGE") {
    return InvalidInput("FILE_TOO_LARGE", absl::StrFormat("%s: %d bytes; a .json list may have %d, give the texts as "
                                                          ".jsonl or plain text instead",
                                                          corpus->path, bytes.size(), kMaxJsonListBytes));
  }
  if (!list.ok()) return Malformed(corpus->path, "JSON", list.status().message());
  if (!list->is_array()) return Malformed(corpus->path, "JSON", "must be a list of texts");
  for (const Json& entry : *list) {
    if (!entry.is_string()) {
      return Malformed(corpus->path, absl::StrFormat("entry %d", corpus->documents.size() + 1), "must be a text");
    }
    corpus->documents.push_back(entry.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status ReadDocuments(std::string bytes, Corpus* corpus) {
  if (absl::EndsWith(corpus->path, ".jsonl")) return ReadJsonLines(bytes, corpus);
  if (absl::EndsWith(corpus->path, ".json")) return ReadJsonList(bytes, corpus);
  corpus->documents.push_back(std::move(bytes));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Corpus> ReadCorpus(const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, RealFileSystem().ReadFile(path, kMaxTextBytes));
  Corpus corpus;
  corpus.path = path;
  corpus.sha256 = Sha256Hex(bytes);
  RETURN_IF_ERROR(CheckUtf8(path, bytes));
  RETURN_IF_ERROR(ReadDocuments(std::move(bytes), &corpus));
  const bool all_empty = std::all_of(corpus.documents.begin(), corpus.documents.end(),
                                     [](const std::string& document) { return document.empty(); });
  if (all_empty) return InvalidInput("TEXT_EMPTY", absl::StrCat(path, ": there is no text in the file"));
  return corpus;
}

}  // namespace quantd
