#include "core/objects/credentials.h"

#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/file_system.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr uint64_t kMaxFileBytes = 64 << 10;

absl::Status Missing(absl::string_view message) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "OBJECT_CREDENTIALS_MISSING", message);
}

// The `name = value` lines of the section [default] and of the lines before any section.
std::map<std::string, std::string> DefaultSection(absl::string_view text) {
  std::map<std::string, std::string> values;
  bool ours = true;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      ours = line == "[default]";
      continue;
    }
    const std::pair<absl::string_view, absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits('=', 1));
    if (ours) {
      values.emplace(absl::AsciiStrToLower(absl::StripAsciiWhitespace(halves.first)),
                     absl::StripAsciiWhitespace(halves.second));
    }
  }
  return values;
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<Credentials> FromEnvironment() {
  Credentials found = {Variable("AWS_ACCESS_KEY_ID"), Variable("AWS_SECRET_ACCESS_KEY"), Variable("AWS_SESSION_TOKEN")};
  if (!found.access_key_id.empty() && !found.secret_access_key.empty()) return found;
  return Missing(
      "the object store needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file with "
      "s3_credentials_file");
}

// Changes when the file does.
std::string Fingerprint(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return "";
  return absl::StrCat(info.st_ino, ".", info.st_size, ".", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec);
}

}  // namespace

absl::StatusOr<Credentials> ReadCredentialsFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, RealFileSystem().ReadFile(path, kMaxFileBytes));
  std::map<std::string, std::string> values = DefaultSection(text);
  Credentials found = {values["aws_access_key_id"], values["aws_secret_access_key"], values["aws_session_token"]};
  if (!found.access_key_id.empty() && !found.secret_access_key.empty()) return found;
  const char* absent = found.access_key_id.empty() ? "aws_access_key_id" : "aws_secret_access_key";
  return Missing(absl::StrCat(path, " has no ", absent, " in its section [default]"));
}

absl::StatusOr<Credentials> CredentialsSource::Get() {
  if (file_.empty()) return FromEnvironment();
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::string now = Fingerprint(file_);
  if (!seen_.empty() && (now == seen_ || now.empty())) return last_;
  auto read = ReadCredentialsFile(file_);
  if (!read.ok() && seen_.empty()) return read.status();
  if (read.ok()) {
    last_ = *std::move(read);
    seen_ = now;
  }
  return last_;
}

}  // namespace quantd
