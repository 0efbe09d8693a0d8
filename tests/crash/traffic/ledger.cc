#include "tests/crash/traffic/ledger.h"

#include "absl/strings/str_cat.h"

namespace quantd::crash {

using v1::QuantJob;

bool IsTerminal(QuantJob::State state) {
  return state == QuantJob::SUCCEEDED || state == QuantJob::REJECTED || state == QuantJob::FAILED ||
         state == QuantJob::CANCELLED;
}

void Ledger::Accepted(const Submission& submission, const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [known, first] = name_by_request_.emplace(submission.request_id, name);
  if (!first && known->second != name) {
    problems_.push_back(
        absl::StrCat("duplicated: request ", submission.request_id, " gave ", known->second, " and ", name));
  }
  jobs_[name].submission = submission;
}

void Ledger::CancelAcknowledged(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  jobs_[name].cancel_acknowledged = true;
}

void Ledger::DeleteTried(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  jobs_[name].delete_tried = true;
}

void Ledger::UndeleteAcknowledged(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  jobs_[name].delete_tried = false;
}

void Ledger::Saw(const QuantJob& job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = jobs_.find(job.name());
  if (found == jobs_.end()) return;  // its submission is not acknowledged yet
  AcceptedJob& known = found->second;
  if (job.revision() < known.revision) return;
  known.revision = job.revision();
  if (IsTerminal(known.terminal) && job.state() != known.terminal) {
    problems_.push_back(absl::StrCat("changed: ", job.name(), " was ", QuantJob::State_Name(known.terminal), ", is ",
                                     QuantJob::State_Name(job.state())));
  }
  if (IsTerminal(job.state())) CheckEnd(job, known);
}

void Ledger::CheckEnd(const QuantJob& job, AcceptedJob& known) {
  if (known.cancel_acknowledged && job.state() != QuantJob::CANCELLED) {
    problems_.push_back(
        absl::StrCat("changed: ", job.name(), " was cancelled, became ", QuantJob::State_Name(job.state())));
  }
  const bool first_sight = !IsTerminal(known.terminal);
  known.terminal = job.state();
  if (job.state() == QuantJob::SUCCEEDED) {
    CheckDigest(job, known);
  } else if (job.state() != QuantJob::CANCELLED && !known.submission.may_fail && first_sight) {
    problems_.push_back(absl::StrCat("failed: ", job.name(), " of kind ", known.submission.kind, ": ",
                                     job.error().reason(), ": ", job.error().message()));
  }
}

// The same input gives the same bytes, whatever was killed on the way.
void Ledger::CheckDigest(const QuantJob& job, AcceptedJob& known) {
  known.digest = job.artifact().digest();
  const auto [same, first] = digest_by_kind_.emplace(known.submission.kind, known.digest);
  if (!first && same->second != known.digest) {
    problems_.push_back(absl::StrCat("different bytes: ", job.name(), " of kind ", known.submission.kind,
                                     " has digest ", known.digest, ", an earlier one ", same->second));
  }
}

void Ledger::Problem(const std::string& what) {
  const std::lock_guard<std::mutex> lock(mutex_);
  problems_.push_back(what);
}

std::optional<std::string> Ledger::RandomJob(std::mt19937_64& random, bool terminal) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<const std::string*> names;
  for (const auto& [name, job] : jobs_) {
    if (IsTerminal(job.terminal) == terminal) names.push_back(&name);
  }
  if (names.empty()) return std::nullopt;
  return *names[random() % names.size()];
}

int64_t Ledger::unfinished() {
  const std::lock_guard<std::mutex> lock(mutex_);
  int64_t count = 0;
  for (const auto& [name, job] : jobs_) count += IsTerminal(job.terminal) ? 0 : 1;
  return count;
}

std::map<std::string, AcceptedJob> Ledger::jobs() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return jobs_;
}

std::map<std::string, std::string> Ledger::digest_by_kind() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return digest_by_kind_;
}

std::vector<std::string> Ledger::problems() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return problems_;
}

}  // namespace quantd::crash
