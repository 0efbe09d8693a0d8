// What only the SQLite engine does: versions, owners, damage, group commit.
#include "server/store/sqlite_database.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_schema.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using v1::QuantJob;

class SqliteDatabaseTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<SqlDatabase>> Open(std::function<void(double, int)> on_commit = {}) {
    return OpenSqliteDatabase({.path = path_, .clock = clock_, .on_commit = std::move(on_commit)});
  }
  // Runs SQL on the file, while no store has it open.
  void Execute(const std::string& sql) {
    ASSERT_OK_AND_ASSIGN(auto connection, SqliteConnection::Open(path_, /*read_only=*/false));
    ASSERT_OK(connection->Execute(sql));
  }
  void LoadVersion1() {
    ASSERT_OK_AND_ASSIGN(const std::string dump,
                         RealFileSystem().ReadFile(SourcePath("tests/data/store/version1.sql"), 1 << 20));
    Execute(dump);
  }

  const std::string directory_ = MakeTempDir();
  const std::string path_ = directory_ + "/quantd.db";
  FakeClock clock_;
};

TEST_F(SqliteDatabaseTest, JobsOfVersion1AreFoundAgain) {
  LoadVersion1();
  ASSERT_OK_AND_ASSIGN(const auto store, OpenSqliteJobStore(directory_, clock_));
  ASSERT_OK_AND_ASSIGN(const auto all, store->List({}));
  ASSERT_EQ(all.size(), 5);
  EXPECT_EQ(all[4].id, "job-done");
  EXPECT_EQ(all[4].job.state(), QuantJob::SUCCEEDED);
  EXPECT_EQ(all[4].job.artifact().files_size(), 2);
  EXPECT_EQ(all[3].job.error().reason(), "MODEL_FILE_MALFORMED");
  EXPECT_EQ(all[2].fence, 2);
  EXPECT_EQ(all[2].incarnation, "inc-2");
  EXPECT_EQ(all[2].job.progress().phase(), "quantize");
  EXPECT_EQ(all[1].job.spec().model(), "models/small");
  EXPECT_NE(all[0].run_after, absl::InfinitePast());
  for (const JobRecord& record : all) EXPECT_EQ(record.tenant, "default");
}

TEST_F(SqliteDatabaseTest, CountsIdsEventsAndFilesOfVersion1AreComplete) {
  LoadVersion1();
  ASSERT_OK_AND_ASSIGN(const auto store, OpenSqliteJobStore(directory_, clock_));
  ASSERT_OK_AND_ASSIGN(const auto counts, store->CountByTenant());
  EXPECT_EQ(counts.at("default").queued, 2);
  EXPECT_EQ(counts.at("default").running, 1);
  EXPECT_EQ(counts.at("default").stored_bytes, 4096);
  ASSERT_OK_AND_ASSIGN(const JobRecord waiting, store->Get("job-waiting"));
  ASSERT_OK_AND_ASSIGN(const auto known,
                       store->FindRequest("default", "44444444-4444-4444-8444-444444444444", waiting.job.spec()));
  ASSERT_TRUE(known.has_value());
  EXPECT_EQ(known->id, "job-waiting");
  ASSERT_OK_AND_ASSIGN(const auto changes, store->ChangesAfter("job-done", 0));
  EXPECT_EQ(changes.size(), 3);
  ASSERT_OK_AND_ASSIGN(const auto files, store->AllReferencedFiles());
  EXPECT_EQ(files.size(), 2);
  ASSERT_OK_AND_ASSIGN(const auto report, store->Report("job-done"));
  EXPECT_TRUE(report.has_value());
  ASSERT_OK_AND_ASSIGN(const int64_t revision, store->LastRevision());
  EXPECT_EQ(revision, 12);
  ASSERT_OK_AND_ASSIGN(const auto audit, store->Audit({.all_tenants = true}));
  ASSERT_EQ(audit.size(), 1u);
  EXPECT_EQ(audit[0].note.actor + " " + audit[0].note.action, "quantd migrate");
}

TEST_F(SqliteDatabaseTest, QueueOfVersion1GoesOnInItsOrder) {
  LoadVersion1();
  ASSERT_OK_AND_ASSIGN(const auto store, OpenSqliteJobStore(directory_, clock_));
  const ClaimQuery query = {.devices = {"cpu"}, .now = absl::FromUnixSeconds(1'700'001'000)};
  for (const char* id : {"job-waiting", "job-retried"}) {
    ASSERT_OK_AND_ASSIGN(const auto claimed, store->Claim(query, [](JobRecord& record) {
      record.job.set_state(QuantJob::RUNNING);
      record.fence += 1;
      record.lease_deadline = absl::FromUnixSeconds(2'000'000'000);
      return absl::OkStatus();
    }));
    ASSERT_TRUE(claimed.has_value());
    EXPECT_EQ(claimed->id, id);
    EXPECT_GT(claimed->job.revision(), 12);
  }
}

TEST_F(SqliteDatabaseTest, MigrationThatFailsLeavesVersion1) {
  LoadVersion1();
  Execute("CREATE TABLE audit (x)");  // in the way of the new tables
  EXPECT_THAT(Open(), FailsWith("STORE_FAILED", "audit"));
  Execute("DROP TABLE audit");
  ASSERT_OK_AND_ASSIGN(const auto store, OpenSqliteJobStore(directory_, clock_));
  EXPECT_OK(store->Get("job-done"));
}

TEST_F(SqliteDatabaseTest, NewerSchemaIsRefusedUntouched) {
  EXPECT_OK(Open());
  Execute("PRAGMA user_version = 99");
  ASSERT_OK_AND_ASSIGN(const std::string before, RealFileSystem().ReadFile(path_, 1 << 20));
  EXPECT_THAT(Open(), FailsWith("DATA_DIRECTORY_TOO_NEW", "schema 99"));
  ASSERT_OK_AND_ASSIGN(const std::string after, RealFileSystem().ReadFile(path_, 1 << 20));
  EXPECT_TRUE(before == after);
}

struct ForeignDatabase {
  const char* name;
  const char* sql;
};
constexpr ForeignDatabase kForeignDatabases[] = {
    {"OtherTables", "CREATE TABLE songs (title TEXT)"},
    {"OtherApplicationId", "PRAGMA application_id = 7; CREATE TABLE jobs (x)"},
    {"OtherVersion1", "CREATE TABLE jobs (x); PRAGMA user_version = 1"},
};

class ForeignDatabaseTest : public SqliteDatabaseTest, public testing::WithParamInterface<ForeignDatabase> {};

TEST_P(ForeignDatabaseTest, IsRefusedUntouched) {
  Execute(GetParam().sql);
  ASSERT_OK_AND_ASSIGN(const std::string before, RealFileSystem().ReadFile(path_, 1 << 20));
  EXPECT_THAT(Open(), FailsWith("STORE_OF_ANOTHER_APPLICATION", "another application"));
  ASSERT_OK_AND_ASSIGN(const std::string after, RealFileSystem().ReadFile(path_, 1 << 20));
  EXPECT_TRUE(before == after);
}
INSTANTIATE_TEST_SUITE_P(Kinds, ForeignDatabaseTest, testing::ValuesIn(kForeignDatabases),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_F(SqliteDatabaseTest, FilesThatAreNoDatabaseAreRefused) {
  ASSERT_OK(WriteFileDurably(RealFileSystem(), path_, std::string(5000, 'x')));
  EXPECT_THAT(Open(), FailsWith("STORE_CORRUPT", "quantd.db"));
}

absl::Status AddRow(SqlConnection& connection, int64_t value) {
  return connection.Prepare("INSERT INTO numbers VALUES (?1)")->Bind(1, value).Run();
}

class GroupCommitTest : public SqliteDatabaseTest {
 protected:
  void SetUp() override {
    auto database = Open([this](double, int writes) {
      ++commits_;
      writes_ += writes;
    });
    ASSERT_OK(database);
    database_ = *std::move(database);
    ASSERT_OK(Write([](SqlConnection& c) { return c.Execute("CREATE TABLE numbers (x INTEGER PRIMARY KEY)"); }));
    commits_ = writes_ = 0;
  }
  absl::Status Write(const SqlBody& body) { return database_->Write(DurableStep::kSubmit, body); }
  int64_t CountRows() {
    int64_t rows = -1;
    EXPECT_OK(database_->Read([&](SqlConnection& connection) -> absl::Status {
      const auto query = connection.Prepare("SELECT COUNT(*) FROM numbers");
      RETURN_IF_ERROR(query->Step().status());
      rows = query->Int(0);
      return absl::OkStatus();
    }));
    return rows;
  }
  // One thread a body, all behind one write that holds the front until they wait.
  std::vector<absl::Status> WriteTogether(const std::vector<SqlBody>& bodies);

  std::unique_ptr<SqlDatabase> database_;
  std::atomic<int> commits_{0};
  std::atomic<int> writes_{0};
};

std::vector<absl::Status> GroupCommitTest::WriteTogether(const std::vector<SqlBody>& bodies) {
  std::vector<absl::Status> results(bodies.size());
  std::vector<std::thread> threads;
  std::atomic<size_t> started{0};
  EXPECT_OK(Write([&](SqlConnection&) {
    for (size_t i = 0; i < bodies.size(); ++i) {
      threads.emplace_back([&, i] {
        ++started;
        results[i] = Write(bodies[i]);
      });
    }
    while (started < bodies.size()) std::this_thread::yield();
    absl::SleepFor(absl::Milliseconds(50));  // from the counter into the queue; later ones only make more batches
    return absl::OkStatus();
  }));
  for (std::thread& thread : threads) thread.join();
  return results;
}

TEST_F(GroupCommitTest, WritesThatWaitShareACommit) {
  std::vector<SqlBody> bodies;
  for (int64_t i = 0; i < 20; ++i) bodies.push_back([i](SqlConnection& connection) { return AddRow(connection, i); });
  for (const absl::Status& status : WriteTogether(bodies)) EXPECT_OK(status);
  EXPECT_EQ(CountRows(), 20);
  EXPECT_EQ(writes_, 21) << "each is counted once";
  EXPECT_LT(commits_, 20) << "some shared one";
}

TEST_F(GroupCommitTest, OneThatFailsIsUndoneAlone) {
  std::vector<SqlBody> bodies;
  for (int64_t i = 0; i < 8; ++i) {
    bodies.push_back([i](SqlConnection& connection) -> absl::Status {
      RETURN_IF_ERROR(AddRow(connection, i));
      return i % 2 == 0 ? absl::OkStatus() : ReasonError(absl::StatusCode::kAborted, "ODD", "refused");
    });
  }
  bodies.push_back([](SqlConnection& connection) -> absl::Status {
    RETURN_IF_ERROR(AddRow(connection, 100));
    return AddRow(connection, 100);
  });
  const std::vector<absl::Status> results = WriteTogether(bodies);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(ReasonOf(results[i]), i % 2 == 0 ? "" : "ODD");
  EXPECT_EQ(ReasonOf(results[8]), "STORE_CONSTRAINT");
  EXPECT_EQ(results[8].code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(CountRows(), 4);
  EXPECT_TRUE(database_->writable());
}

TEST_F(GroupCommitTest, ManyThreadsLoseNothing) {
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int64_t t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t i = 0; i < 25; ++i) {
        const auto add = [&](SqlConnection& connection) { return AddRow(connection, t * 1000 + i); };
        if (!Write(add).ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(CountRows(), 400);
}

}  // namespace
}  // namespace quantd
