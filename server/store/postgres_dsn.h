// Where a PostgreSQL database is and how to log in, kept so that no message can show the password.
#ifndef QUANTD_SERVER_STORE_POSTGRES_DSN_H_
#define QUANTD_SERVER_STORE_POSTGRES_DSN_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

class PostgresDsn {
 public:
  // "postgresql://user@host/database?..." or "host=... dbname=...", as libpq reads them. What is not given gets
  // defaults that notice a dead connection within seconds. INVALID_ARGUMENT STORE_DSN_INVALID, without any part of
  // `text`: a password could be in it.
  static absl::StatusOr<PostgresDsn> Parse(absl::string_view text);

  // Keyword and value, for PQconnectdbParams.
  const std::vector<std::pair<std::string, std::string>>& parameters() const { return parameters_; }

  // "host=db dbname=quantd user=q password=***": what was given, secrets hidden.
  const std::string& hidden_text() const { return hidden_text_; }

  // `message` with every secret of this DSN replaced by "***".
  std::string Scrub(absl::string_view message) const;

 private:
  PostgresDsn() = default;
  void Add(const std::string& keyword, const std::string& value, bool is_secret);
  void AddDefaults();

  std::vector<std::pair<std::string, std::string>> parameters_;
  std::vector<std::string> secrets_;
  std::string hidden_text_;
};

// The DSN of the settings store_dsn and store_dsn_file: "" when both are empty. The file's text is trimmed.
// INVALID_ARGUMENT STORE_DSN_INVALID when both are given, when the file cannot be read, is empty or may be read by
// everybody.
absl::StatusOr<std::string> ReadStoreDsn(const std::string& dsn, const std::string& dsn_file);

// A DSN as it may be shown: hidden_text(), or "***" when it does not parse; "" stays "".
std::string HiddenDsn(absl::string_view dsn);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_POSTGRES_DSN_H_
