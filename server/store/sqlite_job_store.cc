#include "server/store/sqlite_job_store.h"

#include <atomic>
#include <functional>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/file_system.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "server/store/job_queries.h"
#include "server/store/job_rows.h"
#include "server/store/request_digest.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_schema.h"

namespace quantd {
namespace {

absl::StatusOr<int64_t> NextRevision(SqliteConnection& connection) {
  RETURN_IF_ERROR(connection.Prepare("UPDATE counters SET value = value + 1 WHERE name = 'revision'").Run());
  return ReadLastRevision(connection);
}

absl::Status InsertEvent(SqliteConnection& connection, const JobRecord& record, absl::Time now) {
  Statement insert =
      connection.Prepare("INSERT INTO events (revision, job, state, time_us, snapshot) VALUES (?1, ?2, ?3, ?4, ?5)");
  insert.Bind(1, record.job.revision()).Bind(2, record.sequence).Bind(3, record.job.state());
  insert.Bind(4, absl::ToUnixMicros(now)).BindBlob(5, EventSnapshot(record));
  return insert.Run();
}

absl::Status InsertRequest(SqliteConnection& connection, const NewJob& job, int64_t sequence) {
  Statement insert = connection.Prepare("INSERT INTO requests (request_id, job, create_us) VALUES (?1, ?2, ?3)");
  insert.BindText(1, job.request_id).Bind(2, sequence).Bind(3, absl::ToUnixMicros(job.create_time));
  return insert.Run();
}

absl::Status InsertReport(SqliteConnection& connection, const v1::QuantReport& report, int64_t sequence) {
  Statement insert = connection.Prepare("INSERT OR REPLACE INTO reports (job, report) VALUES (?1, ?2)");
  return insert.Bind(1, sequence).BindBlob(2, report.SerializeAsString()).Run();
}

// Whether a watcher that reconnects must be able to see this change again.
bool DeservesEvent(const v1::QuantJob& before, const v1::QuantJob& after) {
  return before.state() != after.state() || before.progress().phase() != after.progress().phase() ||
         before.progress().block() != after.progress().block();
}

class SqliteJobStore : public JobStore {
 public:
  SqliteJobStore(std::unique_ptr<SqliteConnection> writer, std::unique_ptr<SqliteConnection> reader, Clock& clock,
                 std::function<void(double)> on_commit)
      : clock_(clock), on_commit_(std::move(on_commit)), writer_(std::move(writer)), reader_(std::move(reader)) {}

  absl::StatusOr<SubmitResult> Submit(const NewJob& job, int64_t max_queued) override {
    SubmitResult result;
    const auto body = [&]() -> absl::Status {
      ASSIGN_OR_RETURN(std::optional<JobRecord> known, MatchRequest(*writer_, job.request_id, job.spec));
      result.duplicate = known.has_value();
      if (result.duplicate) {
        result.record = *std::move(known);
        return absl::OkStatus();
      }
      RETURN_IF_ERROR(CheckQueueLimit(*writer_, max_queued));
      return InsertJob(job, result.record);
    };
    RETURN_IF_ERROR(Write(body));
    return result;
  }

  absl::StatusOr<std::optional<JobRecord>> FindRequest(absl::string_view request_id,
                                                       const v1::QuantJobSpec& spec) override {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    return MatchRequest(*reader_, request_id, spec);
  }

  absl::StatusOr<JobRecord> Get(absl::string_view id) override {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    return ReadJob(*reader_, id);
  }

  absl::StatusOr<std::vector<JobRecord>> List(const JobQuery& query) override {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    return ReadJobs(*reader_, query);
  }

  absl::StatusOr<JobRecord> Update(absl::string_view id, const JobMutator& mutate) override {
    return UpdateJob(id, nullptr, mutate);
  }
  absl::StatusOr<JobRecord> UpdateWithReport(absl::string_view id, const v1::QuantReport& report,
                                             const JobMutator& mutate) override {
    return UpdateJob(id, &report, mutate);
  }

  absl::StatusOr<std::optional<JobRecord>> Claim(const ClaimQuery& query, const JobMutator& mutate) override {
    // Most polls find nothing: look through the reader first, which keeps the writer free.
    ASSIGN_OR_RETURN(const bool any, AnyClaimable(query));
    if (!any) return std::nullopt;
    std::optional<JobRecord> claimed;
    const auto body = [&]() -> absl::Status {
      ASSIGN_OR_RETURN(claimed, ReadFirstClaimable(*writer_, query));
      return claimed.has_value() ? Mutate(*claimed, mutate) : absl::OkStatus();
    };
    RETURN_IF_ERROR(Write(body));
    return claimed;
  }

  absl::StatusOr<std::vector<JobRecord>> Leased(absl::string_view worker) override {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    return ReadLeased(*reader_, worker);
  }

  absl::StatusOr<std::vector<v1::QuantJob>> ChangesAfter(absl::string_view id, int64_t revision) override {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    return ReadChangesAfter(*reader_, id, revision);
  }

  absl::StatusOr<int64_t> LastRevision() override {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    return ReadLastRevision(*reader_);
  }

  absl::StatusOr<std::optional<v1::QuantReport>> Report(absl::string_view id) override {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    return ReadReport(*reader_, id);
  }

  absl::StatusOr<std::map<JobState, int64_t>> CountByState() override {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    return ReadCountByState(*reader_);
  }

  absl::StatusOr<QueueSummary> SummarizeQueue() override {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    return ReadQueueSummary(*reader_);
  }

  bool writable() const override { return writable_; }

 private:
  absl::StatusOr<bool> AnyClaimable(const ClaimQuery& query) {
    const std::lock_guard<std::mutex> lock(reader_mutex_);
    ASSIGN_OR_RETURN(const std::optional<JobRecord> first, ReadFirstClaimable(*reader_, query));
    return first.has_value();
  }

  absl::Status InsertJob(const NewJob& job, JobRecord& record) {
    record.id = job.id;
    record.job.set_name(JobName(job.id));
    *record.job.mutable_spec() = job.spec;
    record.job.set_state(v1::QuantJob::QUEUED);
    SetTimestamp(job.create_time, record.job.mutable_create_time());
    ASSIGN_OR_RETURN(const int64_t revision, NextRevision(*writer_));
    record.job.set_revision(revision);
    RETURN_IF_ERROR(InsertJobRow(*writer_, record));
    RETURN_IF_ERROR(InsertEvent(*writer_, record, clock_.Now()));
    return job.request_id.empty() ? absl::OkStatus() : InsertRequest(*writer_, job, record.sequence);
  }

  absl::StatusOr<JobRecord> UpdateJob(absl::string_view id, const v1::QuantReport* report, const JobMutator& mutate) {
    JobRecord record;
    const auto body = [&]() -> absl::Status {
      ASSIGN_OR_RETURN(record, ReadJob(*writer_, id));
      RETURN_IF_ERROR(Mutate(record, mutate));
      const bool reported = report != nullptr && record.job.has_artifact();
      return reported ? InsertReport(*writer_, *report, record.sequence) : absl::OkStatus();
    };
    RETURN_IF_ERROR(Write(body));
    return record;
  }

  absl::Status Mutate(JobRecord& record, const JobMutator& mutate) {
    const JobRecord before = record;
    RETURN_IF_ERROR(mutate(record));
    if (!IsLegalTransition(before.job.state(), record.job.state())) {
      return ReasonError(absl::StatusCode::kInternal, "ILLEGAL_TRANSITION",
                         absl::StrFormat("job %s cannot go from %s to %s", record.id, StateName(before.job.state()),
                                         StateName(record.job.state())));
    }
    // Renewing a lease is no change that a user could see.
    if (EventSnapshot(before) == EventSnapshot(record)) return UpdateJobRow(*writer_, before, record);
    ASSIGN_OR_RETURN(const int64_t revision, NextRevision(*writer_));
    record.job.set_revision(revision);
    RETURN_IF_ERROR(UpdateJobRow(*writer_, before, record));
    return DeservesEvent(before.job, record.job) ? InsertEvent(*writer_, record, clock_.Now()) : absl::OkStatus();
  }

  // Runs `body` in one transaction on the writer's connection.
  absl::Status Write(const std::function<absl::Status()>& body) {
    const std::lock_guard<std::mutex> lock(writer_mutex_);
    if (!writable_) {
      return ReasonError(absl::StatusCode::kUnavailable, "STORE_FAILED",
                         "an earlier write to the job database failed; check the disk, then restart quantd");
    }
    const absl::Time begin = RealClock().Now();
    const absl::Status status = RunTransaction(body);
    if (status.ok() && on_commit_) on_commit_(absl::ToDoubleSeconds(RealClock().Now() - begin));
    if (ReasonOf(status) == "STORE_FAILED" || ReasonOf(status) == "STORE_CORRUPT") StopWriting(status);
    return status;
  }

  absl::Status RunTransaction(const std::function<absl::Status()>& body) {
    ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*writer_));
    RETURN_IF_ERROR(body());
    return transaction.Commit();
  }

  // After a failed sync nobody knows which pages reached the disk: the log is only trusted again when it was recovered.
  void StopWriting(const absl::Status& status) {
    writable_ = false;
    Log(Severity::kError, "store_failed", {{"reason", ReasonOf(status)}}, status.message());
  }

  Clock& clock_;
  const std::function<void(double)> on_commit_;
  std::atomic<bool> writable_{true};
  std::mutex writer_mutex_;
  const std::unique_ptr<SqliteConnection> writer_;  // guarded by writer_mutex_
  std::mutex reader_mutex_;
  const std::unique_ptr<SqliteConnection> reader_;  // guarded by reader_mutex_
};

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteJobStore(const std::string& data_directory, Clock& clock,
                                                             std::function<void(double)> on_commit) {
  const std::string path = JoinPath(data_directory, "quantd.db");
  ASSIGN_OR_RETURN(auto writer, SqliteConnection::Open(path, /*read_only=*/false));
  RETURN_IF_ERROR(ConfigureWriter(*writer));
  RETURN_IF_ERROR(MigrateSchema(*writer, data_directory));
  ASSIGN_OR_RETURN(auto reader, SqliteConnection::Open(path, /*read_only=*/true));
  RETURN_IF_ERROR(ConfigureReader(*reader));
  return std::unique_ptr<JobStore>(
      std::make_unique<SqliteJobStore>(std::move(writer), std::move(reader), clock, std::move(on_commit)));
}

}  // namespace quantd
