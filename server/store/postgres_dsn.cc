#include "server/store/postgres_dsn.h"

#include <libpq-fe.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/base/file_system.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr char kInvalid[] = "STORE_DSN_INVALID";
constexpr char kHidden[] = "***";
constexpr size_t kMaxFileBytes = 64 << 10;

struct Default {
  const char* keyword;
  const char* value;
};

// A host that vanishes without a word is noticed after about 10 s, whether something is being sent or waited for.
constexpr Default kDefaults[] = {
    {"connect_timeout", "5"},      {"keepalives_idle", "4"},
    {"keepalives_interval", "2"},  {"keepalives_count", "3"},
    {"tcp_user_timeout", "10000"}, {"application_name", "quantd"},
    {"client_encoding", "UTF8"},   {"target_session_attrs", "read-write"},
};

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

// libpq marks the options that a form should not show.
bool IsSecret(const PQconninfoOption& option) {
  return option.dispchar != nullptr && option.dispchar[0] == '*';
}

}  // namespace

absl::StatusOr<PostgresDsn> PostgresDsn::Parse(absl::string_view text) {
  char* message = nullptr;  // quotes the text: never shown
  const std::unique_ptr<PQconninfoOption, FreeOptions> options(PQconninfoParse(std::string(text).c_str(), &message));
  PQfreemem(message);
  if (options == nullptr || absl::StripAsciiWhitespace(text).empty()) {
    return InvalidInput(kInvalid,
                        "store_dsn is no PostgreSQL connection string; it must look like "
                        "postgresql://USER:PASSWORD@HOST/DATABASE or host=HOST dbname=DATABASE user=USER");
  }
  PostgresDsn dsn;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) dsn.Add(option->keyword, option->val, IsSecret(*option));
  }
  dsn.AddDefaults();
  return dsn;
}

void PostgresDsn::Add(const std::string& keyword, const std::string& value, bool is_secret) {
  parameters_.emplace_back(keyword, value);
  if (is_secret && !value.empty()) secrets_.push_back(value);
  absl::StrAppend(&hidden_text_, hidden_text_.empty() ? "" : " ", keyword, "=", is_secret ? kHidden : value);
}

void PostgresDsn::AddDefaults() {
  for (const Default& row : kDefaults) {
    const bool given = std::any_of(parameters_.begin(), parameters_.end(),
                                   [&](const auto& parameter) { return parameter.first == row.keyword; });
    if (!given) parameters_.emplace_back(row.keyword, row.value);
  }
}

std::string PostgresDsn::Scrub(absl::string_view message) const {
  std::string scrubbed(message);
  for (const std::string& secret : secrets_) absl::StrReplaceAll({{secret, kHidden}}, &scrubbed);
  return scrubbed;
}

absl::StatusOr<std::string> ReadStoreDsn(const std::string& dsn, const std::string& dsn_file) {
  if (dsn_file.empty()) return dsn;
  if (!dsn.empty()) return InvalidInput(kInvalid, "store_dsn and store_dsn_file exclude each other; give one of them");
  struct stat info;
  if (stat(dsn_file.c_str(), &info) == 0 && (info.st_mode & S_IROTH) != 0) {
    return InvalidInput(kInvalid, absl::StrFormat("store_dsn_file %s may be read by everybody on this host, and a "
                                                  "password may be in it; chmod it to 0600 or 0640",
                                                  dsn_file));
  }
  const auto text = RealFileSystem().ReadFile(dsn_file, kMaxFileBytes);
  if (!text.ok()) return InvalidInput(kInvalid, absl::StrCat("store_dsn_file: ", text.status().message()));
  const std::string trimmed(absl::StripAsciiWhitespace(*text));
  if (trimmed.empty()) return InvalidInput(kInvalid, absl::StrFormat("store_dsn_file %s is empty", dsn_file));
  return trimmed;
}

std::string HiddenDsn(absl::string_view dsn) {
  if (dsn.empty()) return "";
  const auto parsed = PostgresDsn::Parse(dsn);
  return parsed.ok() ? parsed->hidden_text() : kHidden;
}

}  // namespace quantd
