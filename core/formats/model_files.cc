#include "core/formats/model_files.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/base/sha256.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr absl::string_view kCopiedNames[] = {
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
};
// Licences and what they oblige a copy to carry; compared in upper case.
constexpr absl::string_view kCopiedPrefixes[] = {"LICENSE", "LICENCE", "NOTICE", "COPYING", "USE_POLICY"};

constexpr uint64_t kMaxCopiedBytes = 256u << 20;  // the limit of tokenizer.json, the largest of them

bool IsWeightFile(absl::string_view name) {
  return absl::EndsWith(name, ".safetensors") || absl::EndsWith(name, ".safetensors.index.json");
}

}  // namespace

bool IsCopiedModelFile(absl::string_view name) {
  if (std::find(std::begin(kCopiedNames), std::end(kCopiedNames), name) != std::end(kCopiedNames)) return true;
  const std::string upper = absl::AsciiStrToUpper(name);
  return std::any_of(std::begin(kCopiedPrefixes), std::end(kCopiedPrefixes),
                     [&](absl::string_view prefix) { return absl::StartsWith(upper, prefix); });
}

absl::StatusOr<std::vector<std::string>> CopiedModelFiles(FileSystem& files, const std::string& folder) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, files.ListDirectory(folder));
  const auto left_out = [&](const std::string& name) {
    return !IsCopiedModelFile(name) || files.IsDirectory(JoinPath(folder, name));
  };
  names.erase(std::remove_if(names.begin(), names.end(), left_out), names.end());
  return names;
}

absl::Status CopyModelFiles(FileSystem& files, const std::string& from, const std::string& to) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, CopiedModelFiles(files, from));
  for (const std::string& name : names) {
    const auto bytes = files.ReadFile(JoinPath(from, name), kMaxCopiedBytes);
    if (ReasonOf(bytes.status()) == "FILE_TOO_LARGE") {
      return InvalidInput("COPIED_FILE_TOO_LARGE", bytes.status().message());
    }
    RETURN_IF_ERROR(bytes.status());
    RETURN_IF_ERROR(WriteFileDurably(files, JoinPath(to, name), *bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ModelFingerprint(FileSystem& files, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.ListDirectory(folder));  // sorted
  Sha256 fingerprint;
  for (const std::string& name : names) {
    const std::string path = JoinPath(folder, name);
    if ((!IsCopiedModelFile(name) && !IsWeightFile(name)) || files.IsDirectory(path)) continue;
    ASSIGN_OR_RETURN(const uint64_t size_bytes, files.FileSize(path));
    ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(path));
    fingerprint.Update(absl::StrFormat("%s %d %s\n", name, size_bytes, sha256));
  }
  return fingerprint.Finish();
}

}  // namespace quantd
