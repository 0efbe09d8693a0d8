// `quantd migrate-store`: moves the jobs of a stopped server from SQLite to PostgreSQL.
#ifndef QUANTD_SERVER_MAIN_MIGRATE_STORE_COMMAND_H_
#define QUANTD_SERVER_MAIN_MIGRATE_STORE_COMMAND_H_

#include <string>

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace quantd {

class MigrateStoreCommand {
 public:
  // Adds itself to the program's commands.
  explicit MigrateStoreCommand(CLI::App& app);

  bool chosen() const;
  // Prints how many rows of each table were copied. The old database stays as it is. Reasons: DATA_DIRECTORY_LOCKED
  // while a server uses it, DATABASE_MISSING, those of OpenSqliteDatabase, OpenPostgresDatabase and CopyStore.
  absl::Status Run() const;

 private:
  CLI::App* command_;
  std::string data_directory_;
  std::string dsn_;
  std::string dsn_file_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_MAIN_MIGRATE_STORE_COMMAND_H_
