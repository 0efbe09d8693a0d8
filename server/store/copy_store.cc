#include "server/store/copy_store.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "core/base/status.h"
#include "server/store/audit_log.h"

namespace quantd {
namespace {

enum class Kind { kNumber, kDouble, kText, kBlob };

struct Column {
  std::string name;
  Kind kind;
};

struct TypeName {
  const char* postgres;
  Kind kind;
};

constexpr TypeName kTypes[] = {
    {"bigint", Kind::kNumber}, {"double precision", Kind::kDouble}, {"text", Kind::kText}, {"bytea", Kind::kBlob}};

absl::StatusOr<Kind> KindOf(const std::string& table, const std::string& column, const std::string& type) {
  for (const TypeName& row : kTypes) {
    if (type == row.postgres) return row.kind;
  }
  return absl::InternalError(absl::StrFormat("%s.%s has type %s, which cannot be copied", table, column, type));
}

absl::StatusOr<std::vector<std::string>> FirstColumn(SqlConnection& connection, const std::string& sql) {
  std::vector<std::string> texts;
  const auto query = connection.PrepareOnce(sql);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return texts;
    texts.push_back(query->Bytes(0));
  }
}

// Those that others refer to first.
absl::StatusOr<std::vector<std::string>> Tables(SqlConnection& postgres) {
  return FirstColumn(postgres,
                     "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema() "
                     "AND table_name <> 'quantd_schema' ORDER BY table_name <> 'jobs', table_name");
}

absl::StatusOr<std::vector<Column>> Columns(SqlConnection& postgres, const std::string& table) {
  std::vector<Column> columns;
  const auto query = postgres.PrepareOnce(
      "SELECT column_name::text, data_type::text FROM information_schema.columns "
      "WHERE table_schema = current_schema() AND table_name = ?1 ORDER BY ordinal_position");
  query->BindText(1, table);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return columns;
    ASSIGN_OR_RETURN(const Kind kind, KindOf(table, query->Bytes(0), query->Bytes(1)));
    columns.push_back({query->Bytes(0), kind});
  }
}

absl::Status CheckEmpty(SqlConnection& postgres, const std::vector<std::string>& tables) {
  for (const std::string& table : tables) {
    ASSIGN_OR_RETURN(const auto rows, FirstColumn(postgres, absl::StrCat("SELECT '1' FROM ", table, " LIMIT 1")));
    if (rows.empty()) continue;
    return ReasonError(absl::StatusCode::kFailedPrecondition, "STORE_NOT_EMPTY",
                       absl::StrFormat("the PostgreSQL database has rows in %s already; copy into a new one", table));
  }
  return absl::OkStatus();
}

void BindColumn(SqlStatement& insert, int index, Kind kind, const SqlStatement& row) {
  const int column = index - 1;
  if (!row.OptionalInt(column).has_value()) {
    insert.BindNull(index);
  } else if (kind == Kind::kNumber) {
    insert.Bind(index, row.Int(column));
  } else if (kind == Kind::kDouble) {
    insert.BindDouble(index, row.Double(column));
  } else if (kind == Kind::kText) {
    insert.BindText(index, row.Bytes(column));
  } else {
    insert.BindBlob(index, row.Bytes(column));
  }
}

std::string ColumnList(const std::vector<Column>& columns) {
  return absl::StrJoin(columns, ", ", [](std::string* out, const Column& column) { out->append(column.name); });
}

std::string InsertSql(const std::string& table, const std::vector<Column>& columns) {
  std::vector<std::string> values;
  for (size_t i = 1; i <= columns.size(); ++i) values.push_back(absl::StrCat("?", i));
  return absl::StrCat("INSERT INTO ", table, " (", ColumnList(columns), ") VALUES (", absl::StrJoin(values, ", "), ")");
}

absl::StatusOr<int64_t> CopyTable(SqlConnection& sqlite, SqlConnection& postgres, const std::string& table) {
  ASSIGN_OR_RETURN(const std::vector<Column> columns, Columns(postgres, table));
  const std::string insert_sql = InsertSql(table, columns);
  const auto rows = sqlite.PrepareOnce(absl::StrCat("SELECT ", ColumnList(columns), " FROM ", table));
  for (int64_t count = 0;; ++count) {
    ASSIGN_OR_RETURN(const bool row, rows->Step());
    if (!row) return count;
    const auto insert = postgres.Prepare(insert_sql);
    int index = 0;
    for (const Column& column : columns) BindColumn(*insert, ++index, column.kind, *rows);
    RETURN_IF_ERROR(insert->Run());
  }
}

// `last`: 0 when no number was given yet.
absl::Status SetSequence(SqlConnection& postgres, const std::string& sequence, int64_t last) {
  if (last == 0) return absl::OkStatus();
  const auto set = postgres.PrepareOnce("SELECT setval(CAST(?1 AS regclass), ?2)");
  return set->BindText(1, sequence).Bind(2, last).Run();
}

// Of some tables SQLite remembers the highest number ever given, also when its row is gone.
absl::StatusOr<int64_t> FirstNumber(SqlConnection& sqlite, const std::string& sql, const std::string& name) {
  const auto query = sqlite.PrepareOnce(sql);
  ASSIGN_OR_RETURN(const bool row, query->BindText(1, name).Step());
  return row ? query->Int(0) : 0;
}

absl::Status ContinueNumbers(SqlConnection& sqlite, SqlConnection& postgres) {
  ASSIGN_OR_RETURN(const auto tables,
                   FirstColumn(postgres,
                               "SELECT table_name::text FROM information_schema.columns WHERE table_schema = "
                               "current_schema() AND is_identity = 'YES' AND column_name = 'sequence'"));
  for (const std::string& table : tables) {
    const std::string highest = absl::StrCat(
        "SELECT MAX(COALESCE((SELECT seq FROM sqlite_sequence WHERE name = ?1), 0), "
        "COALESCE((SELECT MAX(sequence) FROM ",
        table, "), 0))");
    ASSIGN_OR_RETURN(const int64_t last, FirstNumber(sqlite, highest, table));
    RETURN_IF_ERROR(SetSequence(postgres, absl::StrCat(table, "_sequence_seq"), last));
  }
  ASSIGN_OR_RETURN(const int64_t revision,
                   FirstNumber(sqlite, "SELECT value FROM counters WHERE name = ?1", "revision"));
  return SetSequence(postgres, "revisions", revision);
}

}  // namespace

absl::StatusOr<std::map<std::string, int64_t>> CopyStore(SqlDatabase& sqlite, SqlDatabase& postgres) {
  std::map<std::string, int64_t> counts;
  const auto copy = [&](SqlConnection& from, SqlConnection& to) -> absl::Status {
    counts.clear();
    ASSIGN_OR_RETURN(const std::vector<std::string> tables, Tables(to));
    RETURN_IF_ERROR(CheckEmpty(to, tables));
    for (const std::string& table : tables) {
      ASSIGN_OR_RETURN(counts[table], CopyTable(from, to, table));
    }
    RETURN_IF_ERROR(ContinueNumbers(from, to));
    const AuditNote note = {.actor = "migrate-store", .action = "copy", .detail = "from SQLite to PostgreSQL"};
    return InsertServiceAudit(to, note, absl::Now());
  };
  const auto copy_from = [&](SqlConnection& from) {
    return postgres.Write(DurableStep::kMigrate, [&](SqlConnection& to) { return copy(from, to); });
  };
  RETURN_IF_ERROR(sqlite.Read(copy_from));
  return counts;
}

}  // namespace quantd
