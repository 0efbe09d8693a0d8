// Shares and limits of tenants, from a JSON file:
//
//   {
//     "*":      {"max_queued": 1000, "submits_per_second": 20},
//     "team-a": {"weight": 3, "max_running": 4},
//     "team-b": {"weight": 1, "max_stored_bytes": 500000000000}
//   }
//
// "*" stands for every tenant that is not named; what a named one leaves out is as in "*". Without a file all tenants
// have weight 1 and no limits.
#ifndef QUANTD_SERVER_CONFIG_TENANTS_H_
#define QUANTD_SERVER_CONFIG_TENANTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

// 0 of a limit: no limit.
struct TenantLimits {
  double weight = 1;            // share of the dispatches, relative to the other tenants that have jobs waiting
  double max_running = 0;       // jobs at once
  double max_queued = 0;        // jobs
  double max_stored_bytes = 0;  // of artifacts that are not expired
  double submits_per_second = 0;
  double burst = 0;  // submissions at once; 0: those of one second, at least one
};

struct TenantKey {
  const char* name;
  double TenantLimits::*member;
  double minimum;
  double maximum;  // at most 2^53: a double holds every integer up to there
  bool integer;
};
// Keys of the file. docs/scheduling.md has a row for each.
absl::Span<const TenantKey> TenantKeys();

class TenantTable {
 public:
  // TENANTS_INVALID names file, tenant, key and range; reasons of ParseJson and ReadJsonFile.
  static absl::StatusOr<TenantTable> Parse(absl::string_view text, absl::string_view what);
  // An empty path: the table of no file.
  static absl::StatusOr<TenantTable> ReadFile(const std::string& path);

  const TenantLimits& Of(absl::string_view tenant) const;
  // Those with an entry of their own, sorted: the values of metric label `tenant`.
  std::vector<std::string> names() const;

 private:
  TenantLimits others_;
  std::map<std::string, TenantLimits, std::less<>> named_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_CONFIG_TENANTS_H_
