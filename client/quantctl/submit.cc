// quantctl submit
#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/job_arguments.h"
#include "client/quantctl/commands.h"
#include "client/request_id.h"
#include "client/resource_name.h"
#include "client/text/error_text.h"
#include "client/text/quantity.h"
#include "core/base/status.h"

namespace quantd {
namespace {

struct SubmitOptions {
  JobArguments job;
  std::string request_id;
  bool validate_only = false;
  bool wait = false;
};

constexpr char kFooter[] =
    "Models and texts are named relative to the roots that the server is configured with.\n"
    "VALUE is a number, true, false, or else text. `quantctl recipes NAME` lists parameters and their ranges.\n"
    "TIME is a number with its unit: 90s, 30m, 1h30m.\n\n"
    "Examples:\n"
    "  quantctl submit --model quantd-tiny-llama --recipe rtn --set bits=8\n"
    "  quantctl submit --model quantd-tiny-llama --recipe gptq --set bits=3 --set group_size=64 \\\n"
    "      --rule '*.down_proj:bits=8' --rule 'model.layers.0.*:skip' --calibration books/calibration.txt \\\n"
    "      --evaluation books/heldout.txt --export gptq --wait\n"
    "  quantctl submit --model quantd-tiny-llama --recipe rtn --tenant search --priority 10 --queue-timeout 2h\n"
    "  quantctl submit --job job.json --validate-only --json\n";

void AddModelArguments(CLI::App& app, JobArguments& job) {
  app.add_option("--model", job.model, "folder below the server's model root")->type_name("NAME");
  app.add_option("--recipe", job.recipe, "preset, e.g. gptq")->type_name("NAME");
  app.add_option("--set", job.sets, "change a parameter of the recipe; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(true);
  app.add_option("--rule", job.rules, "parameters for the layers whose name matches; the first rule that matches wins")
      ->type_name("PATTERN:NAME=VALUE,...")
      ->allow_extra_args(false);
  app.add_option("--export", job.exports, "also write this layout: gptq")->type_name("NAME")->allow_extra_args(false);
  app.add_option("--device", job.device, "auto, cpu or cuda")->type_name("NAME");
  app.add_option("--label", job.labels, "free-form label; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(true);
  app.add_option("--job", job.job_file,
                 "job spec as JSON, as `quant run --job` reads it, - is standard input; other arguments change it")
      ->type_name("FILE");
}

void AddQueueArguments(CLI::App& app, JobArguments& job) {
  app.add_option("--priority", job.priority, "-100..100; among the tenant's jobs the higher goes first")
      ->type_name("N")
      ->check(CLI::Range(-100, 100));
  app.add_option("--queue-timeout", job.queue_timeout, "fail when the job still waits after this time; 0: never")
      ->type_name("TIME");
  app.add_option("--run-timeout", job.run_timeout, "fail when an attempt runs longer than this; 0: never")
      ->type_name("TIME");
  app.add_option("--max-attempts", job.max_attempts, "attempts that may be lost to dying workers, 1..10")
      ->type_name("N")
      ->check(CLI::Range(1, 10));
}

void AddTextArguments(CLI::App& app, JobArguments& job) {
  app.add_option("--calibration", job.calibration, "text or JSON lines below the server's data root")
      ->type_name("FILE");
  app.add_option("--sequences", job.sequences, "number of calibration sequences")->type_name("N");
  app.add_option("--length", job.length, "tokens a sequence")->type_name("T");
  app.add_option("--seed", job.seed, "chooses where sequences are cut")->type_name("S");
  app.add_option("--bos", job.bos, "whether sequences begin with BOS: auto, always or never")->type_name("WHEN");
  app.add_option("--evaluation", job.evaluation, "text that original and result are measured on")->type_name("FILE");
  app.add_option("--context", job.context, "tokens a window")->type_name("C");
  app.add_option("--windows", job.windows, "at most so many windows; 0: all")->type_name("K");
  app.add_option("--protocol", job.protocol, "plain, bos, gptq-2048 or llamacpp-512")->type_name("NAME");
}

std::string EstimateText(const v1::JobEstimate& estimate) {
  return absl::StrFormat(
      "  memory           %s at most\n  disk             %s, of it artifact %s\n  bits per weight  %.3f\n"
      "  layers           %d quantized, %d skipped\n  multiply-adds    %.3g\n",
      BytesText(estimate.peak_memory_bytes()), BytesText(estimate.disk_bytes()), BytesText(estimate.artifact_bytes()),
      estimate.bits_per_weight(), estimate.quantized_layers(), estimate.skipped_layers(), estimate.multiply_adds());
}

absl::StatusOr<ExitCode> PrintSubmitted(Session& session, const SubmitOptions& options,
                                        const v1::SubmitQuantJobResponse& response) {
  if (session.json) {
    RETURN_IF_ERROR(session.PrintJson(response));
  } else if (options.validate_only) {
    session.Print("The job is valid; nothing was queued. Estimate:\n" + EstimateText(response.estimate()));
  } else {
    session.Print(Printable(response.job().name()) + "\n");
    session.Note(absl::StrCat(response.duplicate() ? "This request id was used before: it is the same job.\n" : "",
                              "Follow it with: quantctl watch ", JobId(response.job().name()), "\n"));
  }
  return ExitCode::kOk;
}

// The call may have reached the server although no answer came back.
bool IsMaybeQueued(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

absl::StatusOr<ExitCode> Submit(Session& session, const SubmitOptions& options) {
  v1::SubmitQuantJobRequest request;
  RETURN_IF_ERROR(MakeSpec(options.job, request.mutable_spec()));
  request.set_request_id(options.request_id.empty() ? NewRequestId() : options.request_id);
  request.set_validate_only(options.validate_only);
  const auto response = session.client().Submit(request);
  if (!response.ok()) {
    if (IsMaybeQueued(response.status())) {
      session.Note("To try again without making a second job: --request-id " + request.request_id() + "\n");
    }
    return response.status();
  }
  if (!options.wait || options.validate_only) return PrintSubmitted(session, options, *response);
  session.Note(absl::StrCat("Job ", Printable(response->job().name()), " (Ctrl-C ends the watching, not the job)\n"));
  ASSIGN_OR_RETURN(const v1::QuantJob job, WaitWithProgress(session, response->job().name()));
  return PrintOutcome(session, job);
}

}  // namespace

void DefineSubmit(CLI::App& app, Session& session) {
  const auto options = std::make_shared<SubmitOptions>();
  AddModelArguments(app, options->job);
  AddTextArguments(app, options->job);
  AddQueueArguments(app, options->job);
  app.add_option("--request-id", options->request_id, "the same id gives the same job; default: a fresh one")
      ->type_name("UUID");
  app.add_flag("--validate-only", options->validate_only,
               "all checks and an estimate of memory and size; nothing is queued");
  app.add_flag("--wait", options->wait, "show progress, then the figures; the exit code tells how the job ended");
  app.footer(kFooter);
  app.callback([options, &session] { session.action = [options, &session] { return Submit(session, *options); }; });
}

}  // namespace quantd
