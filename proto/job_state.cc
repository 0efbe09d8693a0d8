#include "proto/job_state.h"

#include "absl/strings/str_cat.h"

namespace quantd {

using v1::QuantJob;

bool HasResult(QuantJob::State state) {
  return state == QuantJob::SUCCEEDED || state == QuantJob::REJECTED;
}

bool IsTerminal(QuantJob::State state) {
  return HasResult(state) || state == QuantJob::FAILED || state == QuantJob::CANCELLED;
}

bool HasLease(QuantJob::State state) {
  return state == QuantJob::RUNNING || state == QuantJob::CANCELLING;
}

std::string StateName(QuantJob::State state) {
  const std::string& name = QuantJob::State_Name(state);
  return name.empty() ? absl::StrCat("STATE_", static_cast<int>(state)) : name;
}

std::vector<std::string> StateNames() {
  std::vector<std::string> names;
  for (int value = QuantJob::State_MIN + 1; value <= QuantJob::State_MAX; ++value) {
    names.push_back(StateName(static_cast<QuantJob::State>(value)));
  }
  return names;
}

}  // namespace quantd
