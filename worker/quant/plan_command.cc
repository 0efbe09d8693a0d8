#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/pipeline/job_plan.h"
#include "worker/quant/command.h"
#include "worker/quant/job_flags.h"

namespace quantd {
namespace {

absl::Status Plan(const JobFlags& flags) {
  ASSIGN_OR_RETURN(const JobSpec spec, JobFromFlags(flags));
  ASSIGN_OR_RETURN(const auto context, ExecutionContext::Create(flags.execution));
  ASSIGN_OR_RETURN(const JobPlan plan, PlanJob(flags.roots, spec, context->memory_budget_bytes()));
  const JobEstimate& estimate = plan.estimate;
  if (JsonOutput()) {
    std::printf("%s", JsonText(estimate.ToJson()).c_str());
    return absl::OkStatus();
  }
  std::printf("%s", EstimateText(estimate).c_str());
  return absl::OkStatus();
}

}  // namespace

void AddPlanCommand(CLI::App& app, CommandBody* chosen) {
  CLI::App* command = app.add_subcommand("plan", "Check a job and estimate its memory, disk and size; nothing is run");
  const auto flags = std::make_shared<JobFlags>();
  AddJobFlags(*command, flags.get());
  command->callback([flags, chosen] { *chosen = [flags] { return Plan(*flags); }; });
}

}  // namespace quantd
