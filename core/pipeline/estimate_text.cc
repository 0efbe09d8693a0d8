// An estimate for programs and for people.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/pipeline/job_estimate.h"

namespace quantd {
namespace {

double Megabytes(int64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

Json WorkJson(const JobEstimate& estimate) {
  Json rows = Json::array();
  for (const WorkRow& row : estimate.work) {
    rows.push_back({{"name", row.name},
                    {"times", row.times},
                    {"multiply_adds", row.multiply_adds},
                    {"share", estimate.multiply_adds > 0 ? row.multiply_adds / estimate.multiply_adds : 0}});
  }
  return rows;
}

Json BoundariesJson(const JobEstimate& estimate) {
  Json rows = Json::array();
  for (const BoundaryEstimate& row : estimate.boundaries) {
    rows.push_back({{"name", row.name},
                    {"boundaries", row.boundaries},
                    {"bytes", row.bytes},
                    {"spilled_bytes", row.spilled_bytes}});
  }
  return rows;
}

Json RoundsJson(const JobEstimate& estimate) {
  Json rows = Json::array();
  for (const RoundEstimate& row : estimate.rounds) {
    rows.push_back({{"pass", row.pass}, {"layers", row.layers}, {"statistics_bytes", row.statistics_bytes}});
  }
  return rows;
}

std::string WorkText(const JobEstimate& estimate) {
  std::string text = absl::StrFormat("%-62s %6s %8s\n", "work", "times", "share");
  for (const WorkRow& row : estimate.work) {
    const double share = estimate.multiply_adds > 0 ? row.multiply_adds / estimate.multiply_adds : 0;
    absl::StrAppendFormat(&text, "  %-60s %6d %6.1f %%\n", row.name, row.times, 100 * share);
  }
  return text;
}

std::string PlaceText(const BoundaryEstimate& row) {
  if (row.spilled_bytes == 0) return "in memory";
  if (row.spilled_bytes == row.bytes) return "in mapped files";
  return absl::StrFormat("%.2f MB of it in mapped files", Megabytes(row.spilled_bytes));
}

std::string BoundariesText(const JobEstimate& estimate) {
  std::string text;
  if (estimate.gradients) absl::StrAppend(&text, "gradients: ", estimate.gradients_text, "\n");
  for (const BoundaryEstimate& row : estimate.boundaries) {
    absl::StrAppendFormat(&text, "  %-32s at %d %s %10.2f MB, %s\n", row.name, row.boundaries,
                          row.boundaries == 1 ? "boundary:  " : "boundaries:", Megabytes(row.bytes), PlaceText(row));
  }
  return text;
}

// Layers of a round by the last parts of their names.
std::string LayersText(const RoundEstimate& row) {
  std::vector<std::string> names;
  for (const std::string& layer : row.layers) names.push_back(layer.substr(layer.rfind('.') + 1));
  return absl::StrJoin(names, ", ");
}

std::string RoundsText(const JobEstimate& estimate) {
  const std::string limit = estimate.statistics_budget_bytes == 0
                                ? ""
                                : absl::StrFormat(", %.2f MB at once", Megabytes(estimate.statistics_budget_bytes));
  std::string text = absl::StrCat("layers of a block that are measured together", limit, ":\n");
  for (size_t i = 0; i < estimate.rounds.size(); ++i) {
    const RoundEstimate& row = estimate.rounds[i];
    const bool split = i > 0 && estimate.rounds[i - 1].pass == row.pass;
    absl::StrAppendFormat(&text, "  %s %10.2f MB  %s\n", split ? "  again  " : absl::StrFormat("pass %-4d", row.pass),
                          Megabytes(row.statistics_bytes), LayersText(row));
  }
  return text;
}

}  // namespace

Json JobEstimate::ToJson() const {
  Json json = {{"peak_memory_bytes", peak_memory_bytes},
               {"disk_bytes", disk_bytes},
               {"artifact_bytes", artifact_bytes},
               {"bits_per_weight", bits_per_weight},
               {"multiply_adds", multiply_adds},
               {"quantized_layers", quantized_layers},
               {"skipped_layers", skipped_layers},
               {"work", WorkJson(*this)},
               {"boundaries", BoundariesJson(*this)},
               {"rounds", RoundsJson(*this)},
               {"statistics_budget_bytes", statistics_budget_bytes}};
  if (gradients) json["gradients"] = gradients_text;
  return json;
}

std::string EstimateText(const JobEstimate& estimate) {
  std::string text = absl::StrFormat(
      "%d layers to quantize, %d left as they are\n%.3f bits a quantized weight, tensors of %.2f MB\n"
      "about %.2f GB of memory, %.2f MB of disk, %.3g multiply-adds\n",
      estimate.quantized_layers, estimate.skipped_layers, estimate.bits_per_weight, Megabytes(estimate.artifact_bytes),
      Megabytes(estimate.peak_memory_bytes) / 1e3, Megabytes(estimate.disk_bytes), estimate.multiply_adds);
  absl::StrAppend(&text, WorkText(estimate));
  if (!estimate.boundaries.empty()) absl::StrAppend(&text, BoundariesText(estimate), RoundsText(estimate));
  return text;
}

}  // namespace quantd
