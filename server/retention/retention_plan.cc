// What retention is about to do, for people.
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/base/status.h"
#include "server/retention/retention.h"

namespace quantd {
namespace {

constexpr int kShown = 100;

}  // namespace

absl::StatusOr<std::string> RetentionPlanJson(Retention& retention) {
  ASSIGN_OR_RETURN(const RetentionPlan plan, retention.DryRun(kShown));
  Json orphans = Json::array();
  for (const PublishedFile& file : plan.orphans) {
    orphans.push_back({{"sha256", file.sha256}, {"size_bytes", file.size_bytes}});
  }
  return JsonText(
      {{"delete", plan.to_delete}, {"expire", plan.to_expire}, {"purge", plan.to_purge}, {"orphans", orphans}});
}

}  // namespace quantd
