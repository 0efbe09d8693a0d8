// The conformance suite of JobStore runs against every SQL engine: a new one is a row of StoreEngines().
#ifndef QUANTD_TESTS_SERVER_JOB_STORE_FIXTURE_H_
#define QUANTD_TESTS_SERVER_JOB_STORE_FIXTURE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "server/store/job_store.h"
#include "server/store/sql_database.h"

namespace quantd {

// A database that is empty at first, and goes when this does.
class EmptyDatabase {
 public:
  virtual ~EmptyDatabase() = default;
  // Opens it, with what earlier calls have left in it. `clock` gives the time where the engine has no clock of its own.
  virtual absl::StatusOr<std::unique_ptr<SqlDatabase>> Open(Clock& clock) = 0;
};

struct StoreEngine {
  const char* name;
  // Null when the engine is not installed.
  std::function<std::unique_ptr<EmptyDatabase>()> make;
};
const std::vector<StoreEngine>& StoreEngines();

class JobStoreTest : public testing::TestWithParam<StoreEngine> {
 protected:
  void SetUp() override;
  void Reopen();

  absl::Time Now() { return store_->Now(); }
  NewJob Job(absl::string_view id, absl::string_view preset = "gptq", absl::string_view request_id = "");
  NewJob JobOf(absl::string_view tenant, absl::string_view id);
  JobRecord Submitted(const NewJob& job);
  JobRecord Get(absl::string_view id);

  // Claims for worker "w" with a lease until Lease().
  std::optional<JobRecord> Claimed(ClaimQuery query);
  std::optional<JobRecord> Claimed(std::vector<std::string> devices = {"cpu"});
  // Claims until there is none; "job" of each, separated by spaces.
  std::string ClaimAll(ClaimQuery query);
  absl::Time Lease() { return absl::FromUnixSeconds(4'000'000'000); }

  // To SUCCEEDED, with an artifact of one file with this digest.
  JobRecord Succeeded(absl::string_view id, const std::string& sha256, int64_t size_bytes = 7);
  void Delete(absl::string_view id, absl::Time purge_time);

  FakeClock clock_;
  std::unique_ptr<EmptyDatabase> database_;
  std::unique_ptr<JobStore> store_;
};

absl::Status StartForTest(JobRecord& record);
absl::Status EndCancelled(JobRecord& record);
// Back to the queue, to be claimed from `run_after` on.
JobMutator RequeueUntil(absl::Time run_after);

#define QUANTD_EVERY_ENGINE(suite)                                            \
  INSTANTIATE_TEST_SUITE_P(Engines, suite, testing::ValuesIn(StoreEngines()), \
                           [](const auto& row) { return std::string(row.param.name); })

}  // namespace quantd

#endif  // QUANTD_TESTS_SERVER_JOB_STORE_FIXTURE_H_
