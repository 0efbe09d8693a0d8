#include "tests/crash/traffic/ledger.h"

#include "absl/strings/str_cat.h"

namespace quantd::crash {

using v1::QuantJob;

bool IsTerminal(QuantJob::State state) {
  return state == QuantJob::SUCCEEDED || state == QuantJob::REJECTED || state == QuantJob::FAILED ||
         state == QuantJob::CANCELLED;
}

void Ledger::Accepted(const std::string& request_id, const std::string& name, const std::string& kind) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [known, first] = name_by_request_.emplace(request_id, name);
  if (!first && known->second != name) {
    problems_.push_back(absl::StrCat("duplicated: request ", request_id, " gave ", known->second, " and ", name));
  }
  AcceptedJob& job = jobs_[name];
  job.request_id = request_id;
  job.kind = kind;
}

void Ledger::CancelAcknowledged(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  jobs_[name].cancel_acknowledged = true;
}

void Ledger::DeleteTried(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  jobs_[name].delete_tried = true;
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
  if (!IsTerminal(job.state())) return;
  if (known.cancel_acknowledged && job.state() != QuantJob::CANCELLED) {
    problems_.push_back(
        absl::StrCat("changed: ", job.name(), " was cancelled, became ", QuantJob::State_Name(job.state())));
  }
  known.terminal = job.state();
  if (job.state() != QuantJob::SUCCEEDED) return;
  known.digest = job.artifact().digest();
  // The same input gives the same bytes, whatever was killed on the way.
  const auto [same, first] = digest_by_kind_.emplace(known.kind, known.digest);
  if (!first && same->second != known.digest) {
    problems_.push_back(absl::StrCat("different bytes: ", job.name(), " of kind ", known.kind, " has digest ",
                                     known.digest, ", an earlier one ", same->second));
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

std::vector<std::string> Ledger::problems() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return problems_;
}

}  // namespace quantd::crash
