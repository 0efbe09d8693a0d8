#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/str_format.h"
#include "core/base/json.h"
#include "core/pipeline/run_job.h"
#include "worker/quant/command.h"
#include "worker/quant/job_flags.h"
#include "worker/quant/progress_output.h"

namespace quantd {
namespace {

std::atomic<bool> cancelled{false};

void OnSignal(int) {
  cancelled = true;
}

void CatchSignals() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

struct RunFlags {
  JobFlags job;
  std::string out;
  bool overwrite = false;
  int progress_fd = -1;
  std::string checkpoint;
  int64_t checkpoint_interval_ms = absl::ToInt64Milliseconds(kDefaultCheckpointInterval);
};

CheckpointOptions MakeCheckpointOptions(const RunFlags& flags, ProgressOutput& output) {
  return {.folder = flags.checkpoint,
          .interval = absl::Milliseconds(flags.checkpoint_interval_ms),
          .on_commit = [&](const CheckpointNotice& notice) { output.ShowCheckpoint(notice); },
          .on_resume = [&](const CheckpointNotice& notice) { output.ShowResumed(notice); },
          .on_problem = [&](const absl::Status& problem) { output.ShowCheckpointProblem(problem); }};
}

// Sentences about the result that nobody should miss; all of them are in the report.
void PrintNotes(const Report& report) {
  constexpr size_t kMost = 12;
  std::set<std::string> sensitivities;
  for (const ReportLayer& layer : report.layers) sensitivities.insert(layer.sensitivity);
  for (const std::string& sensitivity : sensitivities) std::printf("  sensitivity      %s\n", sensitivity.c_str());
  for (size_t i = 0; i < std::min(kMost, report.warnings.size()); ++i) {
    std::printf("  warning          %s\n", report.warnings[i].c_str());
  }
  if (report.warnings.size() > kMost) std::printf("  ... and %zu more warnings\n", report.warnings.size() - kMost);
}

// On stderr, which a worker keeps with the job: what a job with gradients is going to do is worth knowing before it
// does it.
void PrintPlan(const JobEstimate& estimate) {
  if (estimate.gradients) std::fprintf(stderr, "%s", EstimateText(estimate).c_str());
}

void PrintSummary(const Report& report, const std::string& out) {
  std::printf("%s\n", Verdict(report).c_str());
  std::printf("  size             %.2f MB -> %.2f MB, %.3f bits a quantized weight\n",
              static_cast<double>(report.size.original_bytes) / 1e6,
              static_cast<double>(report.size.quantized_bytes) / 1e6, report.size.bits_per_weight);
  if (report.evaluation.has_value()) {
    const Comparison& c = report.evaluation->comparison;
    std::printf("  perplexity       %.4f +- %.4f -> %.4f +- %.4f (%s, %lld windows of %lld)\n", c.original.perplexity,
                c.original.perplexity_error, c.quantized.perplexity, c.quantized.perplexity_error,
                report.evaluation->protocol.c_str(), static_cast<long long>(c.original.windows),
                static_cast<long long>(report.evaluation->context));
    std::printf("  KL               mean %.5f, 99th percentile %.4f, 99.9th %.4f nats\n", c.kl.mean, c.kl.p99,
                c.kl.p999);
    std::printf("  same top-1       %.2f %% +- %.2f %%\n", 100 * c.same_top1, 100 * c.same_top1_error);
  }
  if (report.speed.has_value()) {
    std::printf("  tokens/s         prefill %.0f -> %.0f, decode %.1f -> %.1f (kernel: %s, %d threads)\n",
                report.speed->original.prefill_tokens_per_second, report.speed->quantized.prefill_tokens_per_second,
                report.speed->original.decode_tokens_per_second, report.speed->quantized.decode_tokens_per_second,
                report.speed->kernel.c_str(), report.speed->threads);
  }
  PrintNotes(report);
  std::printf("  artifact         %s\n  report           %s/report.html\n", out.c_str(), out.c_str());
}

absl::Status Run(const RunFlags& flags) {
  CatchSignals();
  ProgressOutput output(flags.progress_fd);
  const auto result = [&]() -> absl::StatusOr<Report> {
    ASSIGN_OR_RETURN(const JobSpec spec, JobFromFlags(flags.job));
    ExecutionOptions execution = flags.job.execution;
    execution.device = spec.device;
    ASSIGN_OR_RETURN(const auto context, ExecutionContext::Create(execution));
    const RunOptions options{.roots = flags.job.roots,
                             .out = flags.out,
                             .overwrite = flags.overwrite,
                             .checkpoint = MakeCheckpointOptions(flags, output),
                             .on_plan = &PrintPlan,
                             .progress = [&](const ProgressState& state) { output.Show(state); },
                             .cancelled = &cancelled};
    return RunJob(*context, spec, options);
  }();
  output.Finish(result.status());
  RETURN_IF_ERROR(result.status());
  if (JsonOutput()) {
    std::printf("%s", JsonText(ReportToJson(*result, ReportContent::kEverything)).c_str());
  } else {
    PrintSummary(*result, flags.out);
  }
  return absl::OkStatus();
}

}  // namespace

void AddRunCommand(CLI::App& app, CommandBody* chosen) {
  CLI::App* command = app.add_subcommand("run", "Quantize a model and measure the result");
  const auto flags = std::make_shared<RunFlags>();
  AddJobFlags(*command, &flags->job);
  command->add_option("--out", flags->out, "Artifact folder to write; whole or absent at the end")->required();
  command->add_flag("--overwrite", flags->overwrite, "Replace an existing artifact folder");
  command->add_option("--progress-fd", flags->progress_fd, "Write progress as JSON lines to this descriptor");
  command->add_option(
      "--checkpoint", flags->checkpoint,
      "Folder of this job's own: the job goes on from what an earlier run left there; removed at the end");
  command
      ->add_option("--checkpoint-interval-ms", flags->checkpoint_interval_ms,
                   "Time between checkpoints within a block; 0: as often as possible")
      ->check(CLI::Range(int64_t{0}, int64_t{86'400'000}));
  command->callback([flags, chosen] { *chosen = [flags] { return Run(*flags); }; });
}

}  // namespace quantd
