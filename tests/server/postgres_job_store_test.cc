// What a job store on PostgreSQL must do beyond the conformance suite: several servers at once, lost connections.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "server/store/copy_store.h"
#include "server/store/job_rows.h"
#include "server/store/open_job_store.h"
#include "server/store/sqlite_database.h"
#include "tests/testing/postgres_proxy.h"
#include "tests/testing/postgres_server.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using v1::QuantJob;
using Store = std::unique_ptr<JobStore>;

absl::Status Start(JobRecord& record) {
  record.job.set_state(QuantJob::RUNNING);
  record.fence += 1;
  record.job.set_attempt(record.job.attempt() + 1);
  record.job.set_worker("w");
  record.incarnation = "first";
  record.lease_deadline = absl::FromUnixSeconds(2'000'000'000);
  return absl::OkStatus();
}

absl::Status Requeue(JobRecord& record) {
  record.job.set_state(QuantJob::QUEUED);
  record.lease_deadline = absl::InfinitePast();
  record.incarnation.clear();
  return absl::OkStatus();
}

NewJob Job(const std::string& id, const std::string& request_id = "") {
  NewJob job;
  job.id = id;
  job.spec.set_model("m");
  job.spec.mutable_recipe()->set_preset("gptq");
  job.request_id = request_id;
  job.create_time = absl::Now();
  return job;
}

class PostgresJobStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (PostgresServer::Shared() == nullptr) GTEST_SKIP() << PostgresServer::kAbsent;
    dsn_ = PostgresServer::Shared()->NewDatabase();
  }

  Store Open() {
    auto store = OpenJobStore({.dsn = dsn_, .clock = RealClock()});
    EXPECT_OK(store);
    return store.ok() ? *std::move(store) : nullptr;
  }

  std::optional<JobRecord> Claim(JobStore& store) {
    const auto record = store.Claim({.devices = {"cpu"}, .now = store.Now()}, &Start);
    // Several lost races in a row are no error of anybody.
    EXPECT_TRUE(record.ok() || ReasonOf(record.status()) == "STORE_BUSY") << record.status();
    return record.ok() ? *record : std::nullopt;
  }

  std::string Database() const {
    const size_t begin = dsn_.find("dbname=") + 7;
    return dsn_.substr(begin, dsn_.find(' ', begin) - begin);
  }
  int64_t Sql(const std::string& query) const { return std::stoll(PostgresServer::Shared()->Psql(Database(), query)); }

  std::string dsn_;
};

TEST_F(PostgresJobStoreTest, ServersThatClaimAtOnceNeverShareAJob) {
  constexpr int kJobs = 60;
  const Store stores[] = {Open(), Open()};
  for (int i = 0; i < kJobs; ++i) ASSERT_OK(stores[i % 2]->Submit(Job(absl::StrCat("j", i)), {}));
  std::mutex mutex;
  std::map<std::string, int> claims;
  std::vector<std::thread> threads;
  const absl::Time end = absl::Now() + absl::Minutes(1);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      while (absl::Now() < end) {
        {
          const std::lock_guard<std::mutex> lock(mutex);
          if (claims.size() == kJobs) return;
        }
        const auto record = Claim(*stores[i % 2]);
        if (!record.has_value()) continue;
        const std::lock_guard<std::mutex> lock(mutex);
        ++claims[record->id];
        EXPECT_EQ(record->fence, 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(claims.size(), kJobs);
  for (const auto& [id, count] : claims) EXPECT_EQ(count, 1) << id;
  EXPECT_EQ(Sql("SELECT count(*) FROM jobs WHERE state = 2 AND fence = 1"), kJobs);
  EXPECT_EQ(Sql("SELECT sum(jobs) FROM tallies WHERE state = 2"), kJobs);
  EXPECT_EQ(Sql("SELECT sum(jobs) FROM tallies WHERE state = 1"), 0);
}

TEST_F(PostgresJobStoreTest, OneRequestIdOnTwoServersMakesOneJob) {
  const Store stores[] = {Open(), Open()};
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> created{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        const std::string request = absl::StrCat("r", round);
        const auto result = stores[i % 2]->Submit(Job(absl::StrCat("j", round, "-", i), request), {});
        EXPECT_OK(result);
        if (result.ok() && !result->duplicate) ++created;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(created, 1);
  }
  EXPECT_EQ(Sql("SELECT count(*) FROM jobs"), 10);
}

// Two servers that cancel and end one job at the same time: one wins, and the events say the same.
TEST_F(PostgresJobStoreTest, TheFirstCommitDecides) {
  const Store stores[] = {Open(), Open()};
  for (int round = 0; round < 10; ++round) {
    const std::string id = absl::StrCat("j", round);
    ASSERT_OK(stores[0]->Submit(Job(id), {}));
    ASSERT_TRUE(Claim(*stores[0]).has_value());
    const auto end_as = [&](JobStore& store, JobState state) {
      const auto end = [&](JobRecord& record) -> absl::Status {
        if (!HasLease(record.job.state())) return absl::AbortedError("ended already");
        record.job.set_state(state);
        record.lease_deadline = absl::InfinitePast();
        record.incarnation.clear();
        if (state == QuantJob::FAILED) record.job.mutable_error()->set_reason("X");
        SetTimestamp(store.Now(), record.job.mutable_end_time());
        return absl::OkStatus();
      };
      return store.Update(DurableStep::kFail, id, end).ok();
    };
    bool failed = false, returned = false;
    std::thread other([&] { failed = end_as(*stores[1], QuantJob::FAILED); });
    returned = stores[0]
                   ->Update(DurableStep::kRequeue, id,
                            [](JobRecord& record) -> absl::Status {
                              if (!HasLease(record.job.state())) return absl::AbortedError("ended already");
                              return Requeue(record);
                            })
                   .ok();
    other.join();
    EXPECT_NE(failed, returned);
    ASSERT_OK_AND_ASSIGN(const JobRecord record, stores[0]->Get(id));
    EXPECT_EQ(record.job.state(), failed ? QuantJob::FAILED : QuantJob::QUEUED);
    ASSERT_OK_AND_ASSIGN(const auto changes, stores[0]->ChangesAfter(id, 0));
    EXPECT_EQ(changes.back().state(), record.job.state());
    EXPECT_TRUE(failed || Claim(*stores[0]).has_value());  // out of the way of the next round
  }
}

// A change of a job, whichever message of it gets lost: done once when it says so, and not at all when it does not.
TEST_F(PostgresJobStoreTest, LostConnectionsInEveryCallGiveTheTruth) {
  ASSERT_NE(Open(), nullptr);
  PostgresProxy proxy(PostgresServer::Shared()->socket_dir());
  int cuts = 0, jobs = 0;
  for (const auto cut : {PostgresProxy::Cut::kRequest, PostgresProxy::Cut::kAnswer}) {
    // Open() anew makes each statement be prepared again, so more messages can be lost.
    bool was_cut = true;
    for (int after = 0; was_cut && after < 60; after += 3) {
      proxy.CutNothing();
      auto store = OpenJobStore(
          {.dsn = PostgresServer::Dsn(proxy.socket_dir(), Database()), .connections = 2, .clock = RealClock()});
      ASSERT_OK(store);
      proxy.CutAfter(after, cut);
      const std::string id = absl::StrCat("job", ++jobs);
      const auto submitted = (*store)->Submit(Job(id, id), {});
      const auto claimed = (*store)->Claim({.devices = {"cpu"}, .now = (*store)->Now()}, &Start);
      was_cut = proxy.has_cut();
      cuts += was_cut;
      EXPECT_OK(submitted);
      EXPECT_OK(claimed);
      EXPECT_EQ(Sql(absl::StrCat("SELECT count(*) FROM jobs WHERE id = '", id, "' AND fence = 1 AND attempt = 1")), 1)
          << "cut after " << after;
      EXPECT_EQ(Sql("SELECT count(*) FROM jobs WHERE state = 1"), 0) << "cut after " << after;
      EXPECT_EQ(Sql("SELECT count(*) FROM events"), 2 * jobs);
      EXPECT_EQ(Sql("SELECT sum(jobs) FROM tallies"), jobs);
    }
  }
  EXPECT_GT(cuts, 10);
}

TEST_F(PostgresJobStoreTest, EverythingIsCopiedFromSqlite) {
  const std::string directory = MakeTempDir();
  {
    ASSERT_OK_AND_ASSIGN(const Store store, OpenSqliteJobStore(directory, RealClock()));
    for (int i = 0; i < 20; ++i) ASSERT_OK(store->Submit(Job(absl::StrCat("j", i), absl::StrCat("r", i)), {}));
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(Claim(*store).has_value());
  }
  ASSERT_OK_AND_ASSIGN(const auto sqlite,
                       OpenSqliteDatabase({.path = JoinPath(directory, "quantd.db"), .clock = RealClock()}));
  const JobStoreOptions options = {.dsn = dsn_, .clock = RealClock()};
  ASSERT_OK_AND_ASSIGN(const auto postgres, OpenPostgresDatabase(options));
  ASSERT_OK_AND_ASSIGN(const auto counts, CopyStore(*sqlite, *postgres));
  EXPECT_EQ(counts.at("jobs"), 20);
  EXPECT_EQ(counts.at("events"), 25);
  EXPECT_EQ(counts.at("requests"), 20);
  EXPECT_THAT(CopyStore(*sqlite, *postgres), FailsWith("STORE_NOT_EMPTY", "jobs"));

  const Store store = Open();
  ASSERT_OK_AND_ASSIGN(const Store before, OpenSqliteJobStore(directory, RealClock()));
  ASSERT_OK_AND_ASSIGN(const auto jobs, store->List({.limit = 1000}));
  ASSERT_OK_AND_ASSIGN(const auto jobs_before, before->List({.limit = 1000}));
  ASSERT_EQ(jobs.size(), 20);
  for (size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_EQ(jobs[i].job.SerializeAsString(), jobs_before[i].job.SerializeAsString());
    EXPECT_EQ(jobs[i].sequence, jobs_before[i].sequence);
    EXPECT_EQ(jobs[i].lease_deadline, jobs_before[i].lease_deadline);
  }
  EXPECT_EQ(store->CountByState().value(), before->CountByState().value());
  ASSERT_OK_AND_ASSIGN(const auto audit, store->Audit({.all_tenants = true, .limit = 1000}));
  ASSERT_EQ(audit.size(), 21u) << "those of the submissions, and the move";
  EXPECT_EQ(audit[0].note.actor + " " + audit[0].note.action, "migrate-store copy");
  EXPECT_EQ(audit[0].job, "");
  // Numbers go on where they were.
  ASSERT_OK_AND_ASSIGN(const SubmitResult known, store->Submit(Job("other", "r3"), {}));
  EXPECT_TRUE(known.duplicate);
  ASSERT_OK_AND_ASSIGN(const SubmitResult fresh, store->Submit(Job("fresh"), {}));
  EXPECT_EQ(fresh.record.sequence, 21);
  EXPECT_EQ(fresh.record.job.revision(), before->LastRevision().value() + 1);
}

}  // namespace
}  // namespace quantd
