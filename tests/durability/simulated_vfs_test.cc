// The simulated disk is as unreliable as it claims: what the database does not sync gets lost, and only that.
#include "tests/durability/simulated_vfs.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "server/store/sqlite_connection.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr int kSeeds = 40;

class SimulatedDatabase {
 public:
  explicit SimulatedDatabase(const std::string& settings) : settings_(settings) { Open(); }

  void Open() {
    auto opened = SqliteConnection::Open(JoinPath(disk.root(), "x.db"), /*read_only=*/false);
    EXPECT_OK(opened);
    connection_ = *std::move(opened);
    EXPECT_OK(connection_->Execute(settings_));
    EXPECT_OK(connection_->Execute("CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY, filler BLOB)"));
    EXPECT_OK(connection_->Execute("PRAGMA wal_checkpoint"));  // syncs the table and the log's name
  }
  absl::Status Insert(int number) {
    return connection_->Execute(absl::StrCat("INSERT INTO t VALUES (", number, ", randomblob(3000))"));
  }
  // -1 when the database cannot be read.
  int64_t RowsAfterPowerLoss(uint64_t seed) {
    disk.CutPowerAt(0);
    connection_.reset();
    disk.LosePower(seed);
    const auto again = SqliteConnection::Open(JoinPath(disk.root(), "x.db"), /*read_only=*/false);
    if (!again.ok()) return -1;
    const auto count =
        (*again)->Prepare("SELECT count(*), (SELECT integrity_check FROM pragma_integrity_check) FROM t");
    const auto row = count->Step();
    return row.ok() && count->Bytes(1) == "ok" ? count->Int(0) : -1;
  }

  SimulatedDisk disk{MakeMemoryDir()};

 private:
  const SimulatedVfs vfs_{disk};
  const std::string settings_;
  std::unique_ptr<SqliteConnection> connection_;
};

int64_t RowsLeft(const std::string& settings, uint64_t seed) {
  SimulatedDatabase database(settings);
  for (int number = 0; number < 10; ++number) EXPECT_OK(database.Insert(number));
  return database.RowsAfterPowerLoss(seed);
}

TEST(SimulatedVfs, SyncedCommitsAreAlwaysThere) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    EXPECT_EQ(RowsLeft("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", seed), 10) << seed;
    EXPECT_EQ(RowsLeft("PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA", seed), 10) << seed;
  }
}

TEST(SimulatedVfs, UnsyncedCommitsGetLost) {
  std::set<int64_t> rows;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    rows.insert(RowsLeft("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", seed));
  }
  EXPECT_LT(*rows.begin(), 10) << "the simulation loses nothing: it proves nothing";
  EXPECT_GT(rows.size(), 1u) << "the simulation always loses the same: " << *rows.begin();
}

TEST(SimulatedVfs, FaultsReachTheDatabaseAsItsErrors) {
  struct Row {
    DiskOperation operation;
    int error_number;
    const char* reason;
  };
  const Row rows[] = {
      {DiskOperation::kWrite, ENOSPC, "DISK_FULL"},
      {DiskOperation::kWrite, EIO, "STORE_FAILED"},
      {DiskOperation::kSync, EIO, "STORE_FAILED"},
      {DiskOperation::kSync, ENOSPC, "STORE_FAILED"},
  };
  for (const Row& row : rows) {
    SimulatedDatabase database("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    EXPECT_OK(database.Insert(1));
    database.disk.SetFault({.at = 0, .error_number = row.error_number, .only = {row.operation}});
    EXPECT_THAT(database.Insert(2), FailsWith(row.reason, "x.db"));
    EXPECT_TRUE(database.disk.failed());
  }
}

}  // namespace
}  // namespace quantd
