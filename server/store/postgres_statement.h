// A statement of a PostgresConnection. The first Step sends it and reads the whole result.
#ifndef QUANTD_SERVER_STORE_POSTGRES_STATEMENT_H_
#define QUANTD_SERVER_STORE_POSTGRES_STATEMENT_H_

#include <string>
#include <utility>
#include <vector>

#include "server/store/postgres_connection.h"

namespace quantd {

// "?1" becomes "$1", outside of quoted text.
std::string WithDollarParameters(absl::string_view sql);

class PostgresStatement : public SqlStatement {
 public:
  PostgresStatement(PostgresConnection& connection, std::string sql, bool cached)
      : connection_(connection), sql_(std::move(sql)), cached_(cached) {}

  SqlStatement& Bind(int index, int64_t value) override;
  SqlStatement& BindDouble(int index, double value) override;
  SqlStatement& BindText(int index, absl::string_view value) override;
  SqlStatement& BindBlob(int index, absl::string_view value) override;
  SqlStatement& BindNull(int index) override;

  absl::StatusOr<bool> Step() override;
  int64_t Int(int column) const override;
  double Double(int column) const override;
  std::optional<int64_t> OptionalInt(int column) const override;
  std::string Bytes(int column) const override;
  int64_t changes() const override;

 private:
  struct Parameter {
    unsigned int type = 0;  // 0: let the server infer it, for NULL
    bool is_null = true;
    std::string bytes;
  };
  struct Arguments;  // as libpq wants them
  SqlStatement& Set(int index, unsigned int type, std::string bytes);
  Parameter& At(int index);
  std::string TypeSignature() const;
  absl::Status Send();
  absl::StatusOr<std::string> PreparedName(const std::vector<unsigned int>& types);
  bool IsNull(int column) const;
  std::string Text(int column) const;

  PostgresConnection& connection_;
  const std::string sql_;
  const bool cached_;
  std::vector<Parameter> parameters_;
  PostgresResult result_;  // null before the first Step
  int row_ = -1;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_POSTGRES_STATEMENT_H_
