#include "tests/crash/traffic/comparison.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"

namespace quantd::crash {
namespace {

int64_t CountLost(const Comparison& comparison, Ledger& ledger) {
  std::set<std::string> names;
  for (const v1::QuantJob& job : comparison.listed) names.insert(job.name());
  // Deletions that began meanwhile are known now.
  const std::map<std::string, AcceptedJob> now = ledger.jobs();
  int64_t lost = 0;
  for (const auto& [name, job] : comparison.accepted) {
    if (names.count(name) > 0 || now.at(name).delete_tried) continue;
    ++lost;
    ledger.Problem(absl::StrCat("lost: ", name));
  }
  return lost;
}

int64_t CountDuplicated(const Comparison& comparison, Ledger& ledger) {
  std::map<std::string, int> jobs_by_request;
  int64_t duplicated = 0;
  for (const v1::QuantJob& job : comparison.listed) {
    const std::string& request = job.spec().labels().at("request");
    if (++jobs_by_request[request] != 2) continue;
    ++duplicated;
    ledger.Problem(absl::StrCat("duplicated: ", job.name(), " of request ", request));
  }
  return duplicated;
}

// Jobs too whose submission was not answered.
int64_t CountStuck(const Comparison& comparison, Ledger& ledger) {
  int64_t stuck = 0;
  for (const v1::QuantJob& job : comparison.listed) {
    if (!comparison.settled || IsTerminal(job.state())) continue;
    ++stuck;
    ledger.Problem(absl::StrCat("stuck: ", job.name(), " ", job.ShortDebugString()));
  }
  return stuck;
}

}  // namespace

Json Compare(const Comparison& comparison, Ledger& ledger) {
  return {{"submitted", comparison.accepted.size()},
          {"lost", CountLost(comparison, ledger)},
          {"duplicated", CountDuplicated(comparison, ledger)},
          {"stuck", CountStuck(comparison, ledger)}};
}

}  // namespace quantd::crash
