#include "tests/server/job_store_fixture.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "server/store/job_rows.h"
#include "server/store/open_job_store.h"
#include "server/store/sql_job_store.h"
#include "server/store/sqlite_database.h"
#include "tests/testing/postgres_server.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using v1::QuantJob;

class EmptySqlite : public EmptyDatabase {
 public:
  absl::StatusOr<std::unique_ptr<SqlDatabase>> Open(Clock& clock) override {
    return OpenSqliteDatabase({.path = directory_ + "/quantd.db", .clock = clock});
  }

 private:
  const std::string directory_ = MakeTempDir();
};

// PostgreSQL with the test's clock in the place of its own: the suite moves it.
class ClockedDatabase : public SqlDatabase {
 public:
  ClockedDatabase(std::unique_ptr<SqlDatabase> real, Clock& clock) : real_(std::move(real)), clock_(clock) {}
  SqlDialect dialect() const override { return real_->dialect(); }
  absl::Status Read(const SqlBody& body) override { return real_->Read(body); }
  absl::Status Write(DurableStep step, const SqlBody& body) override { return real_->Write(step, body); }
  absl::Time Now() override { return clock_.Now(); }
  bool writable() const override { return real_->writable(); }

 private:
  const std::unique_ptr<SqlDatabase> real_;
  Clock& clock_;
};

class EmptyPostgres : public EmptyDatabase {
 public:
  explicit EmptyPostgres(std::string dsn) : dsn_(std::move(dsn)) {}
  absl::StatusOr<std::unique_ptr<SqlDatabase>> Open(Clock& clock) override {
    ASSIGN_OR_RETURN(auto database, OpenPostgresDatabase({.dsn = dsn_, .clock = clock}));
    return std::make_unique<ClockedDatabase>(std::move(database), clock);
  }

 private:
  const std::string dsn_;
};

std::unique_ptr<EmptyDatabase> MakePostgres() {
  PostgresServer* server = PostgresServer::Shared();
  return server == nullptr ? nullptr : std::make_unique<EmptyPostgres>(server->NewDatabase());
}

}  // namespace

const std::vector<StoreEngine>& StoreEngines() {
  static const std::vector<StoreEngine> engines = {
      {"sqlite", [] { return std::make_unique<EmptySqlite>(); }},
      {"postgres", &MakePostgres},
  };
  return engines;
}

void JobStoreTest::SetUp() {
  database_ = GetParam().make();
  if (database_ == nullptr) GTEST_SKIP() << PostgresServer::kAbsent;
  Reopen();
}

void JobStoreTest::Reopen() {
  store_.reset();
  auto database = database_->Open(clock_);
  ASSERT_OK(database);
  store_ = NewSqlJobStore(*std::move(database));
}

NewJob JobStoreTest::Job(absl::string_view id, absl::string_view preset, absl::string_view request_id) {
  NewJob job;
  job.id = std::string(id);
  job.spec.set_model("m");
  job.spec.mutable_recipe()->set_preset(std::string(preset));
  job.request_id = std::string(request_id);
  job.create_time = Now();
  job.actor = "client:test";
  return job;
}

NewJob JobStoreTest::JobOf(absl::string_view tenant, absl::string_view id) {
  NewJob job = Job(id);
  job.tenant = std::string(tenant);
  return job;
}

JobRecord JobStoreTest::Submitted(const NewJob& job) {
  auto result = store_->Submit(job, {});
  EXPECT_OK(result);
  return result.ok() ? result->record : JobRecord();
}

JobRecord JobStoreTest::Get(absl::string_view id) {
  auto record = store_->Get(id);
  EXPECT_OK(record);
  return record.ok() ? *std::move(record) : JobRecord();
}

std::optional<JobRecord> JobStoreTest::Claimed(ClaimQuery query) {
  auto record = store_->Claim(query, &StartForTest);
  EXPECT_OK(record);
  return record.ok() ? *record : std::nullopt;
}

std::optional<JobRecord> JobStoreTest::Claimed(std::vector<std::string> devices) {
  return Claimed({.devices = std::move(devices), .now = Now()});
}

std::string JobStoreTest::ClaimAll(ClaimQuery query) {
  std::string order;
  for (auto record = Claimed(query); record.has_value(); record = Claimed(query)) {
    absl::StrAppend(&order, order.empty() ? "" : " ", record->id);
  }
  return order;
}

JobRecord JobStoreTest::Succeeded(absl::string_view id, const std::string& sha256, int64_t size_bytes) {
  EXPECT_OK(store_->Update(DurableStep::kClaim, id, &StartForTest));
  auto record = store_->Update(DurableStep::kPublish, id, [&](JobRecord& job) {
    job.job.set_state(QuantJob::SUCCEEDED);
    job.lease_deadline = absl::InfinitePast();
    SetTimestamp(Now(), job.job.mutable_end_time());
    job.job.mutable_artifact()->set_digest(sha256);
    job.job.mutable_artifact()->set_size_bytes(size_bytes);
    job.job.mutable_artifact()->add_files()->set_sha256(sha256);
    return absl::OkStatus();
  });
  EXPECT_OK(record);
  return record.ok() ? *std::move(record) : JobRecord();
}

void JobStoreTest::Delete(absl::string_view id, absl::Time purge_time) {
  EXPECT_OK(store_->Update(DurableStep::kDeleteMark, id, [&](JobRecord& record) {
    SetTimestamp(Now(), record.job.mutable_delete_time());
    SetTimestamp(purge_time, record.job.mutable_purge_time());
    record.audit = {"client:test", "delete", "asked for"};
    return absl::OkStatus();
  }));
}

absl::Status StartForTest(JobRecord& record) {
  record.job.set_state(QuantJob::RUNNING);
  record.fence += 1;
  record.job.set_attempt(record.job.attempt() + 1);
  record.job.set_worker("w");
  record.incarnation = "i";
  record.lease_deadline = absl::FromUnixSeconds(4'000'000'000);
  return absl::OkStatus();
}

absl::Status EndCancelled(JobRecord& record) {
  record.job.set_state(QuantJob::CANCELLED);
  record.lease_deadline = absl::InfinitePast();
  SetTimestamp(absl::FromUnixSeconds(1'900'000'000), record.job.mutable_end_time());
  return absl::OkStatus();
}

JobMutator RequeueUntil(absl::Time run_after) {
  return [run_after](JobRecord& record) {
    record.job.set_state(QuantJob::QUEUED);
    record.lease_deadline = absl::InfinitePast();
    record.run_after = run_after;
    record.lost_on = record.job.worker();
    return absl::OkStatus();
  };
}

}  // namespace quantd
