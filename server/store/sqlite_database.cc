#include "server/store/sqlite_database.h"

#include <sys/stat.h>

#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/store/group_commit.h"
#include "server/store/sql_job_store.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_schema.h"
#include "server/store/sqlite_writer.h"

namespace quantd {
namespace {

// Reads are short; more would only help with more cores than a server with SQLite has.
constexpr int kReaders = 4;

// Connections that read, each lent to one thread at a time.
class ReaderPool {
 public:
  absl::Status Open(const SqliteOptions& options) {
    for (int i = 0; i < kReaders; ++i) {
      ASSIGN_OR_RETURN(auto reader, SqliteConnection::Open(options.path, /*read_only=*/true, options.vfs));
      RETURN_IF_ERROR(ConfigureReader(*reader, options.cache_bytes / 2 / kReaders));
      free_.push_back(std::move(reader));
    }
    return absl::OkStatus();
  }

  std::unique_ptr<SqliteConnection> Take() {
    std::unique_lock<std::mutex> lock(mutex_);
    returned_.wait(lock, [&] { return !free_.empty(); });
    std::unique_ptr<SqliteConnection> reader = std::move(free_.back());
    free_.pop_back();
    return reader;
  }

  void Return(std::unique_ptr<SqliteConnection> reader) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      free_.push_back(std::move(reader));
    }
    returned_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<SqliteConnection>> free_;  // guarded by mutex_
};

absl::Status ReadIn(SqliteConnection& reader, const SqlBody& body) {
  RETURN_IF_ERROR(reader.Prepare("BEGIN")->Run());
  const absl::Status status = body(reader);
  // No durable step: nothing was written.
  if (reader.in_transaction()) RETURN_IF_ERROR(reader.Prepare("COMMIT")->Run());
  return status;
}

class SqliteDatabase : public SqlDatabase {
 public:
  SqliteDatabase(const SqliteOptions& options, std::unique_ptr<SqliteConnection> writer)
      : clock_(options.clock),
        writer_(std::move(writer), options.on_commit),
        group_commit_([this](const GroupCommit::Batch& batch) { writer_.Commit(batch); },
                      [this] { writer_.Checkpoint(); }) {}

  absl::Status OpenReaders(const SqliteOptions& options) { return readers_.Open(options); }

  SqlDialect dialect() const override { return SqlDialect::kSqlite; }

  absl::Status Read(const SqlBody& body) override {
    std::unique_ptr<SqliteConnection> reader = readers_.Take();
    const absl::Status status = ReadIn(*reader, body);
    readers_.Return(std::move(reader));
    return status;
  }

  absl::Status Write(DurableStep step, const SqlBody& body) override {
    return RunDurableStep(step, [&] { return group_commit_.Run(body); });
  }

  absl::Time Now() override { return clock_.Now(); }
  bool writable() const override { return writer_.writable(); }

 private:
  Clock& clock_;
  SqliteWriter writer_;  // before the readers: the last connection to close removes the log
  ReaderPool readers_;
  GroupCommit group_commit_;
};

// A database that was closed has no log beside it.
bool StoppedUncleanly(const std::string& path) {
  struct stat log;
  return stat(absl::StrCat(path, "-wal").c_str(), &log) == 0 && log.st_size > 0;
}

absl::StatusOr<std::unique_ptr<SqliteConnection>> OpenWriter(const SqliteOptions& options) {
  const bool unclean = StoppedUncleanly(options.path);
  ASSIGN_OR_RETURN(auto writer, SqliteConnection::Open(options.path, /*read_only=*/false, options.vfs));
  RETURN_IF_ERROR(CheckOwner(*writer, options.path));
  if (unclean) {
    Log(Severity::kInfo, "store_recovered", {{"path", options.path}}, "quantd was not stopped; checking its database");
    RETURN_IF_ERROR(CheckIntegrity(*writer, options.path));
  }
  RETURN_IF_ERROR(ConfigureWriter(*writer, options.cache_bytes / 2));
  RETURN_IF_ERROR(MigrateSqlite(*writer));
  return writer;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqlDatabase>> OpenSqliteDatabase(const SqliteOptions& options) {
  ASSIGN_OR_RETURN(auto writer, OpenWriter(options));
  auto database = std::make_unique<SqliteDatabase>(options, std::move(writer));
  RETURN_IF_ERROR(database->OpenReaders(options));
  return std::unique_ptr<SqlDatabase>(std::move(database));
}

absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteJobStore(const std::string& data_directory, Clock& clock,
                                                             std::function<void(double, int)> on_commit,
                                                             int64_t cache_bytes) {
  ASSIGN_OR_RETURN(auto database, OpenSqliteDatabase({.path = JoinPath(data_directory, "quantd.db"),
                                                      .clock = clock,
                                                      .on_commit = std::move(on_commit),
                                                      .cache_bytes = cache_bytes}));
  return NewSqlJobStore(std::move(database));
}

}  // namespace quantd
