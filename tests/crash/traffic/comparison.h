// What the clients of a crash test were told, against what the server has.
#ifndef QUANTD_TESTS_CRASH_TRAFFIC_COMPARISON_H_
#define QUANTD_TESTS_CRASH_TRAFFIC_COMPARISON_H_

#include <map>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "quantd/v1/quant_job.pb.h"
#include "tests/crash/traffic/ledger.h"

namespace quantd::crash {

struct Comparison {
  // Accepted before the server was asked for its jobs.
  std::map<std::string, AcceptedJob> accepted;
  // All that it has.
  std::vector<v1::QuantJob> listed;
  // Nothing is submitted any more, and every job had time enough to end.
  bool settled = false;
};

// An object with the numbers submitted (accepted jobs), lost, duplicated and stuck; each of the last three is also a
// problem in the ledger.
Json Compare(const Comparison& comparison, Ledger& ledger);

}  // namespace quantd::crash

#endif  // QUANTD_TESTS_CRASH_TRAFFIC_COMPARISON_H_
