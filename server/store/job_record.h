// A job as the server knows it: what users see (QuantJob) and what only the scheduler needs.
#ifndef QUANTD_SERVER_STORE_JOB_RECORD_H_
#define QUANTD_SERVER_STORE_JOB_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/job_state.h"
#include "proto/resource_name.h"
#include "quantd/v1/quant_job.pb.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

using JobState = v1::QuantJob::State;

// Who did what: one row of the audit log. Nothing is written while `action` is empty.
struct AuditNote {
  std::string actor;   // "client:{address}", "worker:{id}", "sweeper", "retention"
  std::string action;  // one of AuditRecord.action
  std::string detail;
};

struct JobRecord {
  std::string id;  // last part of job.name(); unique on this server
  std::string tenant = kDefaultTenant;
  int64_t sequence = 0;      // order of submission, growing
  v1::QuantJob job;          // `conditions` are not stored; `checkpoint` is the summary of the field below
  int64_t fence = 0;         // raised by every claim, never lowered
  std::string incarnation;   // of the worker that holds the lease; empty without one
  std::string lost_on = {};  // worker of the last lost attempt; empty: none was lost
  absl::Time lease_deadline = absl::InfinitePast();    // infinite past: no lease
  absl::Time run_after = absl::InfinitePast();         // a queued job is not claimed before; infinite past: at once
  absl::Time queue_deadline = absl::InfiniteFuture();  // by its spec, while it is queued; infinite future: none
  absl::Time run_deadline = absl::InfiniteFuture();    // of the attempt that runs, set by the claim
  // The newest that is committed. The store drops it when the job becomes terminal.
  std::optional<v1::Checkpoint> checkpoint = {};
  int64_t compacted_revision = 0;  // newest event of the job that has been dropped; kept by the store
  // Not part of the record: a mutator sets it, and the row is inserted with the change.
  AuditNote audit = {};
};

// The state machine of docs/job-states.md: may a job in state `from` be written with state `to`?
// `from` == STATE_UNSPECIFIED stands for a job that does not exist yet.
bool IsLegalTransition(JobState from, JobState to);

// Of a terminal job only the marks of retention may change: deletion, and the expiry of its artifact.
bool KeepsResult(const v1::QuantJob& before, const v1::QuantJob& after);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_JOB_RECORD_H_
