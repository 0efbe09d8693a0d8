#include "server/main/migrate_store_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>

#include "absl/strings/str_format.h"
#include "core/base/clock.h"
#include "core/base/file_system.h"
#include "core/base/status.h"
#include "server/store/copy_store.h"
#include "server/store/data_directory.h"
#include "server/store/open_job_store.h"
#include "server/store/postgres_dsn.h"
#include "server/store/sqlite_database.h"

namespace quantd {
namespace {

absl::StatusOr<std::unique_ptr<SqlDatabase>> OpenOld(const std::string& directory) {
  const std::string path = JoinPath(directory, "quantd.db");
  if (RealFileSystem().Exists(path)) return OpenSqliteDatabase({.path = path, .clock = RealClock()});
  return ReasonError(absl::StatusCode::kFailedPrecondition, "DATABASE_MISSING",
                     absl::StrFormat("%s: no such database; --from names the data directory of the server", path));
}

}  // namespace

MigrateStoreCommand::MigrateStoreCommand(CLI::App& app)
    : command_(app.add_subcommand("migrate-store", "Copy the jobs of a stopped quantd from SQLite to PostgreSQL")) {
  command_->add_option("--from", data_directory_, "Data directory of the stopped server")->required();
  command_->add_option("--store-dsn", dsn_, "PostgreSQL database to copy into, empty or new ($QUANTD_STORE_DSN)")
      ->envname("QUANTD_STORE_DSN");
  command_->add_option("--store-dsn-file", dsn_file_, "File with the DSN, for one with a password")
      ->envname("QUANTD_STORE_DSN_FILE");
  command_->footer("All or nothing. The SQLite database is left as it is: start no server on it any more.");
}

bool MigrateStoreCommand::chosen() const {
  return command_->parsed();
}

absl::Status MigrateStoreCommand::Run() const {
  ASSIGN_OR_RETURN(const std::string dsn, ReadStoreDsn(dsn_, dsn_file_));
  if (dsn.empty()) return InvalidInput("STORE_DSN_INVALID", "give --store-dsn or --store-dsn-file");
  if (!RealFileSystem().IsDirectory(data_directory_)) {
    return InvalidInput("DATABASE_MISSING", absl::StrFormat("--from %s: no such folder", data_directory_));
  }
  ASSIGN_OR_RETURN(const DataDirectory lock, DataDirectory::Open(data_directory_));
  ASSIGN_OR_RETURN(const auto sqlite, OpenOld(data_directory_));
  ASSIGN_OR_RETURN(const auto postgres, OpenPostgresDatabase({.dsn = dsn, .clock = RealClock()}));
  ASSIGN_OR_RETURN(const auto counts, CopyStore(*sqlite, *postgres));
  for (const auto& [table, rows] : counts) std::printf("%-16s %lld\n", table.c_str(), static_cast<long long>(rows));
  return absl::OkStatus();
}

}  // namespace quantd
