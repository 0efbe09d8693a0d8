// What retention is about to do, for people.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/json.h"
#include "core/base/status.h"
#include "server/retention/retention.h"

namespace quantd {
namespace {

std::string Lines(absl::string_view verb, const std::vector<std::string>& ids) {
  std::string text;
  for (const std::string& id : ids) absl::StrAppend(&text, verb, " ", id, "\n");
  return text;
}

// "at least 100" where the list was cut off.
std::string Count(size_t count, int limit) {
  return absl::StrCat(count == static_cast<size_t>(limit) ? "at least " : "", count);
}

}  // namespace

std::string RetentionPlanText(const RetentionPlan& plan, int limit) {
  std::string text =
      absl::StrCat(Lines("delete", plan.to_delete), Lines("expire", plan.to_expire), Lines("purge", plan.to_purge));
  int64_t bytes = 0;
  for (const PublishedFile& file : plan.orphans) {
    absl::StrAppendFormat(&text, "remove %s %d bytes\n", file.sha256, file.size_bytes);
    bytes += file.size_bytes;
  }
  absl::StrAppendFormat(&text,
                        "the next pass would delete %s jobs, expire the artifacts of %s, purge %s deleted jobs and "
                        "remove %s files of nobody with %d bytes; nothing was changed\n",
                        Count(plan.to_delete.size(), limit), Count(plan.to_expire.size(), limit),
                        Count(plan.to_purge.size(), limit), Count(plan.orphans.size(), limit), bytes);
  return text;
}

std::string RetentionPlanJson(const RetentionPlan& plan) {
  Json orphans = Json::array();
  for (const PublishedFile& file : plan.orphans) {
    orphans.push_back({{"sha256", file.sha256}, {"size_bytes", file.size_bytes}});
  }
  return JsonText(
      {{"delete", plan.to_delete}, {"expire", plan.to_expire}, {"purge", plan.to_purge}, {"orphans", orphans}});
}

}  // namespace quantd
