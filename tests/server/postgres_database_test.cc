#include "server/store/postgres_database.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/file_system.h"
#include "server/store/postgres_dsn.h"
#include "server/store/postgres_schema.h"
#include "tests/testing/postgres_proxy.h"
#include "tests/testing/postgres_server.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

const PostgresSchema kSchema = {7, "CREATE TABLE items (id TEXT PRIMARY KEY, value BIGINT, share FLOAT8, data BYTEA)"};
constexpr DurableStep kStep = DurableStep::kSubmit;

PostgresOptions Options(const std::string& dsn) {
  return {.dsn = dsn,
          .pool = {.size = 4,
                   .patience = absl::Seconds(5),
                   .session = {.statement_timeout = absl::Seconds(3),
                               .lock_timeout = absl::Seconds(1),
                               .answer_timeout = absl::Seconds(4)}}};
}

SqlBody Insert(const std::string& id, int64_t value) {
  return [=](SqlConnection& connection) -> absl::Status {
    const auto insert = connection.Prepare("INSERT INTO items (id, value) VALUES (?1, ?2)");
    return insert->BindText(1, id).Bind(2, value).Run();
  };
}

class PostgresDatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = PostgresServer::Shared();
    if (server_ == nullptr) GTEST_SKIP() << PostgresServer::kAbsent;
    dsn_ = server_->NewDatabase();
    Open(dsn_);
    ASSERT_OK(PreparePostgresSchema(*database_, kSchema));
  }

  void Open(const std::string& dsn) {
    database_.reset();
    auto database = ConnectPostgresDatabase(Options(dsn));
    ASSERT_OK(database);
    database_ = *std::move(database);
  }
  void OpenThrough(PostgresProxy& proxy) { Open(PostgresServer::Dsn(proxy.socket_dir(), Name())); }

  std::string Name() const {
    return dsn_.substr(dsn_.find("dbname=") + 7, dsn_.find(" user=") - dsn_.find("dbname=") - 7);
  }

  int64_t Count(const std::string& where = "true") const {
    return std::stoll(server_->Psql(Name(), absl::StrCat("SELECT count(*) FROM items WHERE ", where)));
  }

  PostgresServer* server_ = nullptr;
  std::string dsn_;
  std::unique_ptr<SqlDatabase> database_;
};

TEST_F(PostgresDatabaseTest, ValuesComeBackAsTheyWere) {
  const std::string bytes("\0\x01\xff\\x41'", 7);
  ASSERT_OK(database_->Write(kStep, [&](SqlConnection& connection) -> absl::Status {
    const auto insert = connection.Prepare("INSERT INTO items VALUES (?1, ?2, ?3, ?4)");
    RETURN_IF_ERROR(insert->BindText(1, "it's ?1 ü").Bind(2, INT64_MIN).BindDouble(3, 0.1).BindBlob(4, bytes).Run());
    EXPECT_EQ(insert->changes(), 1);
    const auto empty = connection.Prepare("INSERT INTO items VALUES (?1, ?2, ?3, ?4)");
    return empty->BindText(1, "").BindNull(2).BindNull(3).BindBlob(4, "").Run();
  }));
  ASSERT_OK(database_->Read([&](SqlConnection& connection) -> absl::Status {
    const auto query = connection.Prepare("SELECT id, value, share, data, sum(value) OVER () FROM items ORDER BY id");
    ASSIGN_OR_RETURN(bool row, query->Step());
    EXPECT_TRUE(row);
    EXPECT_EQ(query->OptionalInt(1), std::nullopt);
    EXPECT_EQ(query->Int(1), 0);
    EXPECT_EQ(query->Bytes(3), "");
    ASSIGN_OR_RETURN(row, query->Step());
    EXPECT_TRUE(row);
    EXPECT_EQ(query->Bytes(0), "it's ?1 ü");
    EXPECT_EQ(query->OptionalInt(1), INT64_MIN);
    EXPECT_EQ(query->Double(2), 0.1);
    EXPECT_EQ(query->Bytes(3), bytes);
    EXPECT_EQ(query->Int(4), INT64_MIN);  // a sum has another type there
    ASSIGN_OR_RETURN(row, query->Step());
    EXPECT_FALSE(row);
    return absl::OkStatus();
  }));
}

TEST_F(PostgresDatabaseTest, AnErrorOfTheBodyRollsBack) {
  const absl::Status status = database_->Write(kStep, [&](SqlConnection& connection) -> absl::Status {
    RETURN_IF_ERROR(Insert("a", 1)(connection));
    return InvalidInput("NO", "no");
  });
  EXPECT_EQ(ReasonOf(status), "NO");
  EXPECT_EQ(Count(), 0);
}

TEST_F(PostgresDatabaseTest, ASecondOfOneKeyIsAConstraint) {
  ASSERT_OK(database_->Write(kStep, Insert("a", 1)));
  const absl::Status status = database_->Write(kStep, Insert("a", 2));
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(status, FailsWith("STORE_CONSTRAINT", "unique"));
}

TEST_F(PostgresDatabaseTest, AnErrorThatTheBodyHidesIsNoSuccess) {
  ASSERT_OK(database_->Write(kStep, Insert("a", 1)));
  const absl::Status status = database_->Write(kStep, [&](SqlConnection& connection) -> absl::Status {
    RETURN_IF_ERROR(Insert("b", 1)(connection));
    (void)Insert("a", 2)(connection);
    return absl::OkStatus();
  });
  EXPECT_THAT(status, FailsWith("STORE_CONSTRAINT", "unique"));
  EXPECT_EQ(Count(), 1);
}

TEST_F(PostgresDatabaseTest, TextThatIsNoneIsRefused) {
  EXPECT_THAT(database_->Write(kStep, Insert("\xff", 1)), FailsWith("TEXT_INVALID", "UTF-8"));
  EXPECT_THAT(database_->Write(kStep, Insert(std::string("a\0b", 3), 1)), FailsWith("TEXT_INVALID", "zero"));
}

TEST_F(PostgresDatabaseTest, ConcurrentTransactionsOnOneRowAllCount) {
  ASSERT_OK(database_->Write(kStep, Insert("a", 0)));
  // Read first, write then, guarded: without a second run some would be lost.
  const auto add_one = [](SqlConnection& connection) -> absl::Status {
    const auto query = connection.Prepare("SELECT value FROM items WHERE id = 'a'");
    RETURN_IF_ERROR(query->Step().status());
    const auto update = connection.Prepare("UPDATE items SET value = ?1 + 1 WHERE id = 'a' AND value = ?1");
    RETURN_IF_ERROR(update->Bind(1, query->Int(0)).Run());
    if (update->changes() == 1) return absl::OkStatus();
    return ReasonError(absl::StatusCode::kAborted, "STORE_CONFLICT", "somebody else was first");
  };
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10; ++n) done += database_->Write(kStep, add_one).ok();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(done, 30);  // twelve tries may be too few for one
  EXPECT_EQ(Count(absl::StrCat("value = ", done.load())), 1);
}

TEST_F(PostgresDatabaseTest, ADeadlockIsRunAgain) {
  ASSERT_OK(database_->Write(kStep, Insert("a", 0)));
  ASSERT_OK(database_->Write(kStep, Insert("b", 0)));
  std::atomic<int> runs{0};
  const auto add_to_both = [&](const std::string& first, const std::string& second) {
    return database_->Write(kStep, [&](SqlConnection& connection) -> absl::Status {
      ++runs;
      for (const std::string& id : {first, second}) {
        const auto update = connection.Prepare("UPDATE items SET value = value + 1 WHERE id = ?1");
        RETURN_IF_ERROR(update->BindText(1, id).Run());
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
      return absl::OkStatus();
    });
  };
  std::thread other([&] { EXPECT_OK(add_to_both("b", "a")); });
  EXPECT_OK(add_to_both("a", "b"));
  other.join();
  EXPECT_GT(runs, 2) << "there was no deadlock: this test would pass for nothing";
  EXPECT_EQ(Count("value = 2"), 2);
}

// Whichever message is cut, before or after the server has done it: the caller hears the truth.
TEST_F(PostgresDatabaseTest, ALostConnectionInAnyStatementGivesTheTruth) {
  PostgresProxy proxy(server_->socket_dir());
  int jobs = 0, cuts = 0;
  for (const auto cut : {PostgresProxy::Cut::kRequest, PostgresProxy::Cut::kAnswer}) {
    // The messages of one transaction are fewer than that: begin, prepare, insert, commit.
    for (int after = 0; after < 6; ++after) {
      proxy.CutNothing();
      OpenThrough(proxy);
      ASSERT_OK(database_->Write(kStep, Insert(absl::StrCat("warm", jobs), 0)));
      proxy.CutAfter(after, cut);
      const std::string id = absl::StrCat("job", ++jobs);
      const absl::Status status = database_->Write(kStep, Insert(id, 1));
      cuts += proxy.has_cut();
      EXPECT_TRUE(status.ok() || ReasonOf(status) == "STORE_BUSY") << status;
      EXPECT_EQ(Count(absl::StrCat("id = '", id, "'")), status.ok() ? 1 : 0) << after << status;
      EXPECT_OK(status);  // the server is there: a second run succeeds
    }
  }
  EXPECT_GE(cuts, 6);
}

TEST_F(PostgresDatabaseTest, ALostConnectionWhileReadingIsReadAgain) {
  PostgresProxy proxy(server_->socket_dir());
  OpenThrough(proxy);
  ASSERT_OK(database_->Write(kStep, Insert("a", 5)));
  for (int after = 0; after < 3; ++after) {
    proxy.CutAfter(after, PostgresProxy::Cut::kAnswer);
    int64_t value = 0;
    ASSERT_OK(database_->Read([&](SqlConnection& connection) -> absl::Status {
      const auto query = connection.Prepare("SELECT value FROM items WHERE id = 'a'");
      RETURN_IF_ERROR(query->Step().status());
      value = query->Int(0);
      return absl::OkStatus();
    }));
    EXPECT_TRUE(proxy.has_cut());
    EXPECT_EQ(value, 5);
  }
}

TEST_F(PostgresDatabaseTest, ASessionThatIsTerminatedIsReplaced) {
  int runs = 0;
  ASSERT_OK(database_->Write(kStep, [&](SqlConnection& connection) -> absl::Status {
    if (++runs == 1) {
      server_->Psql("postgres", absl::StrCat("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '",
                                             Name(), "'"));
    }
    return Insert("a", runs)(connection);
  }));
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(Count("value = 2"), 1);
}

TEST_F(PostgresDatabaseTest, AFrozenServerIsGivenUpAndComesBack) {
  PostgresProxy proxy(server_->socket_dir());
  OpenThrough(proxy);
  ASSERT_OK(database_->Write(kStep, Insert("a", 1)));
  proxy.Freeze(true);
  std::thread thaw([&] {
    std::this_thread::sleep_for(std::chrono::seconds(5));
    proxy.Freeze(false);
  });
  // The limit for one answer is 4 s: without it this would hang.
  EXPECT_OK(database_->Write(kStep, Insert("b", 1)));
  thaw.join();
  EXPECT_EQ(Count(), 2);
}

// What makes a transaction's number worth asking about: numbers begin anew after a crash.
TEST_F(PostgresDatabaseTest, ACrashOfTheServerBeginsANewLife) {
  ASSERT_OK_AND_ASSIGN(const PostgresDsn dsn, PostgresDsn::Parse(dsn_));
  const auto instance = [&] {
    const auto connection = PostgresConnection::Connect(dsn, {});
    return connection.ok() ? (*connection)->instance() : "";
  };
  const std::string first = instance();
  EXPECT_EQ(first, instance());
  // One backend that dies takes all others with it; the postmaster lives on.
  (void)!std::system(absl::StrCat("kill -9 ", server_->Psql("postgres",
                                                            "SELECT pid FROM pg_stat_activity WHERE backend_type = "
                                                            "'walwriter'"))
                         .c_str());
  std::string second;
  for (const absl::Time end = absl::Now() + absl::Minutes(2);
       absl::Now() < end && (second.empty() || second == first);) {
    second = instance();
  }
  EXPECT_NE(second, "");
  EXPECT_NE(second, first);
}

TEST_F(PostgresDatabaseTest, OneServerTellsTheOther) {
  auto other = ConnectPostgresDatabase(Options(dsn_));
  ASSERT_OK(other);
  std::mutex mutex;
  std::condition_variable changed;
  int told = 0;
  (*other)->ListenToOthers([&] {
    const std::lock_guard<std::mutex> lock(mutex);
    ++told;
    changed.notify_all();
  });
  const absl::Time end = absl::Now() + absl::Seconds(20);
  std::unique_lock<std::mutex> lock(mutex);
  while (told < 3 && absl::Now() < end) {
    database_->NotifyOthers();
    changed.wait_for(lock, std::chrono::milliseconds(100));
  }
  EXPECT_GE(told, 3);
}

TEST_F(PostgresDatabaseTest, NowIsTheDatabasesClock) {
  const std::string micros = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint";
  const absl::Time before = absl::FromUnixMicros(std::stoll(server_->Psql(Name(), micros)));
  const absl::Time now = database_->Now();
  const absl::Time after = absl::FromUnixMicros(std::stoll(server_->Psql(Name(), micros)));
  // The measured offset is off by half a round trip at most.
  EXPECT_GE(now, before - absl::Milliseconds(100));
  EXPECT_LE(now, after + absl::Milliseconds(100));
}

TEST_F(PostgresDatabaseTest, SeveralServersMakeTheTablesOnce) {
  const std::string dsn = server_->NewDatabase();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      auto database = ConnectPostgresDatabase(Options(dsn));
      ASSERT_OK(database);
      EXPECT_OK(PreparePostgresSchema(**database, kSchema));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(PostgresDatabaseTest, ADatabaseOfAnotherApplicationIsLeftAlone) {
  Open(server_->NewDatabase());
  ASSERT_OK(database_->Write(kStep, [](SqlConnection& connection) {
    return connection.Execute("CREATE TABLE customers (id BIGINT); CREATE TABLE invoices (id BIGINT)");
  }));
  EXPECT_THAT(PreparePostgresSchema(*database_, kSchema),
              FailsWith("STORE_OF_ANOTHER_APPLICATION", "customers, invoices"));
}

TEST_F(PostgresDatabaseTest, OtherVersionsOfTheTablesAreRefused) {
  EXPECT_THAT(PreparePostgresSchema(*database_, {6, ""}), FailsWith("STORE_TOO_NEW", "schema 7"));
  EXPECT_THAT(PreparePostgresSchema(*database_, {8, ""}), FailsWith("STORE_TOO_OLD", "schema 7"));
}

TEST_F(PostgresDatabaseTest, AServerThatAcknowledgesTooEarlyIsRefused) {
  server_->Psql("postgres", absl::StrCat("ALTER DATABASE ", Name(), " SET synchronous_commit = off"));
  const auto refused = ConnectPostgresDatabase(Options(dsn_));
  EXPECT_THAT(refused, FailsWith("STORE_UNSUITABLE", "synchronous_commit=off"));
}

TEST_F(PostgresDatabaseTest, ARoleThatOwnsNothingIsToldWhy) {
  server_->Psql("postgres", absl::StrCat("CREATE DATABASE of_admin"));
  Open(PostgresServer::Dsn(server_->socket_dir(), "of_admin"));
  EXPECT_THAT(PreparePostgresSchema(*database_, kSchema), FailsWith("STORE_UNSUITABLE", "owner"));
}

TEST_F(PostgresDatabaseTest, AWrongDsnIsExplainedWithoutItsPassword) {
  const std::string wrong =
      absl::StrCat("host=", server_->socket_dir(), " dbname=nowhere user=quantd_test password=s3cret");
  const auto refused = ConnectPostgresDatabase(Options(wrong));
  EXPECT_THAT(refused, FailsWith("STORE_FAILED", "nowhere"));
  EXPECT_EQ(refused.status().message().find("s3cret"), std::string::npos) << refused.status();
}

TEST(PostgresDsnTest, NonsenseIsRefusedWithoutShowingIt) {
  for (const char* text : {"", "  ", "s3cret", "postgresql://u:s3cret@[::1/db", "host=x pasword=s3cret"}) {
    const auto dsn = PostgresDsn::Parse(text);
    EXPECT_THAT(dsn, FailsWith("STORE_DSN_INVALID", "postgresql://")) << text;
    EXPECT_EQ(dsn.status().message().find("s3cret"), std::string::npos);
  }
}

TEST(PostgresDsnTest, ThePasswordIsHiddenInBothForms) {
  EXPECT_EQ(HiddenDsn("host=db dbname=q user=u password=s3cret"), "user=u password=*** dbname=q host=db");
  EXPECT_EQ(HiddenDsn("postgresql://u:s3%20cret@db/q"), "user=u password=*** dbname=q host=db");
  EXPECT_EQ(HiddenDsn("no dsn s3cret"), "***");
  EXPECT_EQ(HiddenDsn(""), "");
}

TEST(PostgresDsnTest, FilesForDsnsMustBePrivateAndAlone) {
  const std::string path = JoinPath(MakeTempDir(), "dsn");
  ASSERT_OK(WriteFileDurably(RealFileSystem(), path, "host=db\n"));
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  EXPECT_THAT(ReadStoreDsn("", path), FailsWith("STORE_DSN_INVALID", "0600"));
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  ASSERT_OK_AND_ASSIGN(const std::string dsn, ReadStoreDsn("", path));
  EXPECT_EQ(dsn, "host=db");
  EXPECT_THAT(ReadStoreDsn("host=other", path), FailsWith("STORE_DSN_INVALID", "exclude"));
  EXPECT_THAT(ReadStoreDsn("", path + ".absent"), FailsWith("STORE_DSN_INVALID", "absent"));
}

}  // namespace
}  // namespace quantd
