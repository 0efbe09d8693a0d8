#include "server/store/postgres_statement.h"

#include <libpq-fe.h>

#include <cstdlib>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {
namespace {

// Numbers of built-in types, fixed for ever (pg_type.dat of PostgreSQL).
constexpr Oid kBytea = 17;
constexpr Oid kInt8 = 20;
constexpr Oid kText = 25;
constexpr Oid kFloat8 = 701;
constexpr int kBinary = 1;
constexpr int kTextFormat = 0;

// The eight bytes of a number as they travel: most significant first.
std::string NetworkBytes(uint64_t value) {
  std::string bytes(sizeof value, '\0');
  for (size_t i = 0; i < sizeof value; ++i) bytes[i] = static_cast<char>(value >> (56 - 8 * i));
  return bytes;
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

std::string WithDollarParameters(absl::string_view sql) {
  std::string result;
  bool quoted = false;
  for (size_t i = 0; i < sql.size(); ++i) {
    if (sql[i] == '\'') quoted = !quoted;
    const bool is_parameter = !quoted && sql[i] == '?' && i + 1 < sql.size() && IsDigit(sql[i + 1]);
    result.push_back(is_parameter ? '$' : sql[i]);
  }
  return result;
}

struct PostgresStatement::Arguments {
  explicit Arguments(const std::vector<Parameter>& parameters) {
    for (const Parameter& parameter : parameters) {
      types.push_back(parameter.type);
      values.push_back(parameter.is_null ? nullptr : parameter.bytes.data());
      lengths.push_back(static_cast<int>(parameter.bytes.size()));
      formats.push_back(kBinary);
    }
  }
  int count() const { return static_cast<int>(values.size()); }
  std::vector<Oid> types;
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
};

PostgresStatement::Parameter& PostgresStatement::At(int index) {
  if (static_cast<size_t>(index) > parameters_.size()) parameters_.resize(static_cast<size_t>(index));
  return parameters_[static_cast<size_t>(index) - 1];
}

SqlStatement& PostgresStatement::Set(int index, unsigned int type, std::string bytes) {
  At(index) = {type, /*is_null=*/false, std::move(bytes)};
  return *this;
}

SqlStatement& PostgresStatement::Bind(int index, int64_t value) {
  return Set(index, kInt8, NetworkBytes(static_cast<uint64_t>(value)));
}

SqlStatement& PostgresStatement::BindDouble(int index, double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return Set(index, kFloat8, NetworkBytes(bits));
}

SqlStatement& PostgresStatement::BindText(int index, absl::string_view value) {
  return Set(index, kText, std::string(value));
}

SqlStatement& PostgresStatement::BindBlob(int index, absl::string_view value) {
  return Set(index, kBytea, std::string(value));
}

SqlStatement& PostgresStatement::BindNull(int index) {
  At(index) = {};
  return *this;
}

absl::StatusOr<bool> PostgresStatement::Step() {
  if (result_ == nullptr) RETURN_IF_ERROR(Send());
  if (row_ + 1 >= PQntuples(result_.get())) return false;
  ++row_;
  return true;
}

absl::Status PostgresStatement::Send() {
  const Arguments arguments(parameters_);
  int sent = 0;
  if (cached_) {
    ASSIGN_OR_RETURN(const std::string name, PreparedName(arguments.types));
    sent = PQsendQueryPrepared(connection_.handle_, name.c_str(), arguments.count(), arguments.values.data(),
                               arguments.lengths.data(), arguments.formats.data(), kTextFormat);
  } else {
    sent = PQsendQueryParams(connection_.handle_, WithDollarParameters(sql_).c_str(), arguments.count(),
                             arguments.types.data(), arguments.values.data(), arguments.lengths.data(),
                             arguments.formats.data(), kTextFormat);
  }
  ASSIGN_OR_RETURN(result_, connection_.Receive(sent));
  row_ = -1;
  return absl::OkStatus();
}

std::string PostgresStatement::TypeSignature() const {
  std::string signature;
  for (const Parameter& parameter : parameters_) absl::StrAppend(&signature, parameter.type, ",");
  return signature;
}

absl::StatusOr<std::string> PostgresStatement::PreparedName(const std::vector<unsigned int>& types) {
  std::string& name = connection_.prepared_[absl::StrCat(TypeSignature(), sql_)];
  if (!name.empty()) return name;
  const std::string fresh = absl::StrCat("q", connection_.prepared_.size());
  RETURN_IF_ERROR(connection_
                      .Receive(PQsendPrepare(connection_.handle_, fresh.c_str(), WithDollarParameters(sql_).c_str(),
                                             static_cast<int>(types.size()), types.data()))
                      .status());
  name = fresh;
  return name;
}

bool PostgresStatement::IsNull(int column) const {
  return result_ == nullptr || row_ < 0 || PQgetisnull(result_.get(), row_, column) != 0;
}

std::string PostgresStatement::Text(int column) const {
  if (IsNull(column)) return "";
  return std::string(PQgetvalue(result_.get(), row_, column),
                     static_cast<size_t>(PQgetlength(result_.get(), row_, column)));
}

int64_t PostgresStatement::Int(int column) const {
  const std::string text = Text(column);
  int64_t value = 0;
  if (absl::SimpleAtoi(text, &value)) return value;
  if (text == "t") return 1;
  // Averages and the like, which SQLite would cut too.
  double number = 0;
  return absl::SimpleAtod(text, &number) && std::abs(number) < 0x1p62 ? static_cast<int64_t>(number) : 0;
}

double PostgresStatement::Double(int column) const {
  double number = 0;
  return absl::SimpleAtod(Text(column), &number) ? number : 0;
}

std::optional<int64_t> PostgresStatement::OptionalInt(int column) const {
  if (IsNull(column)) return std::nullopt;
  return Int(column);
}

std::string PostgresStatement::Bytes(int column) const {
  std::string text = Text(column);
  if (result_ == nullptr || PQftype(result_.get(), column) != kBytea || !absl::StartsWith(text, "\\x")) return text;
  return absl::HexStringToBytes(absl::string_view(text).substr(2));
}

int64_t PostgresStatement::changes() const {
  int64_t count = 0;
  if (result_ == nullptr || !absl::SimpleAtoi(PQcmdTuples(result_.get()), &count)) return 0;
  return count;
}

}  // namespace quantd
