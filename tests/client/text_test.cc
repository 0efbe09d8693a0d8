// What people read: exit codes, errors, progress, figures, recipes.
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/job_arguments.h"
#include "client/rpc_status.h"
#include "client/text/error_text.h"
#include "client/text/exit_code.h"
#include "client/text/figures.h"
#include "client/text/job_text.h"
#include "client/text/progress_view.h"
#include "client/text/quantity.h"
#include "client/text/recipe_text.h"
#include "client/text/table.h"
#include "core/base/file_system.h"
#include "tests/client/fake_service.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

using testing::HasSubstr;
using testing::Not;

absl::Status FromServer(grpc::StatusCode code, const std::string& reason) {
  return FromRpcStatus(RichError(code, reason, "message"), "server");
}

TEST(ExitCodes, TableOfStatuses) {
  const struct {
    absl::Status status;
    int code;
  } kRows[] = {
      {absl::OkStatus(), 0},
      {InvalidInput(kBadArgument, ""), 2},
      {InvalidInput("JOB_NAME_INVALID", ""), 2},
      {FromServer(grpc::StatusCode::INVALID_ARGUMENT, "RECIPE_UNKNOWN"), 3},
      {FromServer(grpc::StatusCode::OUT_OF_RANGE, "REVISION_IN_FUTURE"), 3},
      {FromServer(grpc::StatusCode::PERMISSION_DENIED, "ROLE_MISSING"), 3},
      {FromServer(grpc::StatusCode::NOT_FOUND, "JOB_NOT_FOUND"), 4},
      {FromServer(grpc::StatusCode::NOT_FOUND, "FILE_NOT_FOUND"), 4},
      {FromServer(grpc::StatusCode::UNAVAILABLE, "DRAINING"), 5},
      {FromRpcStatus(grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, ""), "server"), 5},
      {FromServer(grpc::StatusCode::ALREADY_EXISTS, "REQUEST_ID_REUSED"), 8},
      {FromServer(grpc::StatusCode::FAILED_PRECONDITION, "JOB_NOT_FINISHED"), 8},
      {FromServer(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUOTA_QUEUED_JOBS"), 9},
      {FromServer(grpc::StatusCode::RESOURCE_EXHAUSTED, "DISK_FULL"), 9},
      {ErrnoError(ENOSPC, "writing x"), 10},
      {ErrnoError(ENOENT, "opening x"), 10},
      {ErrnoError(EACCES, "opening x"), 10},
      {ReasonError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH", ""), 11},
      {FromServer(grpc::StatusCode::INTERNAL, "IO_ERROR"), 11},
      {FromRpcStatus(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, ""), "server"), 11},
  };
  for (const auto& row : kRows) EXPECT_EQ(static_cast<int>(ExitCodeOf(row.status)), row.code) << row.status;
}

TEST(ExitCodes, TableOfStates) {
  EXPECT_EQ(ExitCodeOf(v1::QuantJob::SUCCEEDED), ExitCode::kOk);
  EXPECT_EQ(ExitCodeOf(v1::QuantJob::FAILED), ExitCode::kJobFailed);
  EXPECT_EQ(ExitCodeOf(v1::QuantJob::CANCELLED), ExitCode::kJobCancelled);
  EXPECT_EQ(ExitCodeOf(v1::QuantJob::REJECTED), ExitCode::kJobRejected);
}

TEST(ExitCodes, EachIsInTheHelpOnce) {
  EXPECT_EQ(ExitCodes().size(), 12u);
  for (size_t i = 0; i < ExitCodes().size(); ++i) EXPECT_EQ(static_cast<size_t>(ExitCodes()[i].code), i);
}

TEST(ExitCodes, PageHasTheSameTable) {
  ASSERT_OK_AND_ASSIGN(const std::string page, RealFileSystem().ReadFile(SourcePath("docs/quantctl.md"), 1 << 20));
  for (const ExitCodeRow& row : ExitCodes()) {
    EXPECT_THAT(page, HasSubstr(absl::StrCat("| ", static_cast<int>(row.code), " | ", row.meaning, " |")));
  }
}

TEST(Errors, SayWhatReasonFieldAndHint) {
  const absl::Status status =
      WithField(InvalidInput("RECIPE_UNKNOWN_PARAMETER", "unknown parameter 'bitz'"), "recipe.overrides.bitz");
  EXPECT_EQ(ErrorText("quantctl submit", status),
            "quantctl submit: unknown parameter 'bitz'\n"
            "  reason  RECIPE_UNKNOWN_PARAMETER (INVALID_ARGUMENT)\n"
            "  field   recipe.overrides.bitz\n"
            "  hint    `quantctl recipes NAME` shows every parameter with its type, default and range\n");
  EXPECT_EQ(ErrorJson(status), R"({"error":{"code":"INVALID_ARGUMENT","field":"recipe.overrides.bitz",)"
                               R"("message":"unknown parameter 'bitz'","reason":"RECIPE_UNKNOWN_PARAMETER"}})"
                               "\n");
}

TEST(Errors, ServersCannotSteerTheTerminal) {
  const std::string text = ErrorText("quantctl", InvalidInput("R", "a\x1b[2Jb\rc\x7f"));
  EXPECT_THAT(text, HasSubstr("a\\x1b[2Jb\\x0dc\\x7f"));
  EXPECT_THAT(ErrorJson(InvalidInput("R", "\xff")), HasSubstr("message"));
}

TEST(Errors, FailedJobShowsTheEndOfItsLog) {
  v1::QuantJob job = JobAt("tenants/default/jobs/j1", v1::QuantJob::FAILED, 3);
  job.mutable_error()->set_reason("CHILD_CRASHED");
  job.mutable_error()->set_message("the child died");
  job.mutable_error()->set_signal(9);
  job.mutable_error()->set_phase("quantize");
  job.mutable_error()->set_log_tail("line 1\nline 2\n");
  for (const char* part : {"CHILD_CRASHED", "the child died", "signal 9", "quantize", "    line 1\n    line 2\n"}) {
    EXPECT_THAT(FailureText(job), HasSubstr(part));
    EXPECT_THAT(JobText(job), HasSubstr(part));
  }
  job.set_state(v1::QuantJob::CANCELLED);
  EXPECT_EQ(FailureText(job), "");
}

TEST(Jobs, ShowWhatTheyWaitForAndWhatTheyTook) {
  v1::QuantJob job = JobAt("tenants/search/jobs/j1", v1::QuantJob::QUEUED, 3);
  job.mutable_spec()->set_priority(5);
  job.mutable_spec()->set_queue_timeout_ms(60'000);
  job.mutable_create_time()->set_seconds(1'700'000'000);
  job.mutable_estimate()->set_peak_memory_bytes(2'000'000);
  job.mutable_last_failure()->set_reason("WORKER_LOST");
  job.mutable_last_failure()->set_message("worker w1 did not renew its lease");
  job.mutable_checkpoint()->set_phase("quantize");
  job.mutable_checkpoint()->set_block(7);
  job.mutable_checkpoint()->set_blocks(12);
  job.add_conditions("no registered worker has device cuda");
  for (const char* line :
       {"priority         5\n", "queue deadline   2023-11-14 22:14:20\n", "memory, planned  2.00 MB\n",
        "last failure     WORKER_LOST: worker w1", "checkpoint       quantize, block 7 of 12"}) {
    EXPECT_THAT(JobText(job), HasSubstr(line));
  }
  EXPECT_THAT(JobTable({job}), HasSubstr("j1   search  QUEUED  5 "));
  EXPECT_THAT(JobTable({job}), HasSubstr("no registered worker has device cuda\n"));
  job.set_state(v1::QuantJob::RUNNING);
  job.mutable_spec()->set_run_timeout_ms(2'000);
  job.mutable_start_time()->set_seconds(1'700'000'100);
  EXPECT_THAT(JobText(job), HasSubstr("run deadline     2023-11-14 22:15:02\n"));
  job.set_state(v1::QuantJob::SUCCEEDED);
  job.mutable_actuals()->set_run_seconds(65);
  job.mutable_actuals()->set_peak_memory_bytes(3'000'000);
  job.mutable_actuals()->set_resumed_from_block(7);
  for (const char* line :
       {"ran for          1:05\n", "memory           3.00 MB (expected 2.00 MB)\n", "resumed from     block 7\n"}) {
    EXPECT_THAT(JobText(job), HasSubstr(line));
  }
}

TEST(Quantities, TableOfTexts) {
  EXPECT_EQ(BytesText(999), "999 B");
  EXPECT_EQ(BytesText(1000), "1.00 kB");
  EXPECT_EQ(BytesText(23'456'789), "23.5 MB");
  EXPECT_EQ(BytesText(999'600'000), "1.00 GB");
  EXPECT_EQ(CountText(0), "0");
  EXPECT_EQ(CountText(999), "999");
  EXPECT_EQ(CountText(5767168), "5,767,168");
  EXPECT_EQ(CountText(-1000), "-1,000");
  EXPECT_EQ(DurationText(7.4), "0:07");
  EXPECT_EQ(DurationText(3725), "1:02:05");
  EXPECT_EQ(DurationText(-1), "-");
  EXPECT_EQ(DurationText(std::nan("")), "-");
  google::protobuf::Timestamp time;
  EXPECT_EQ(TimeText(time), "-");
  time.set_seconds(1'700'000'000);
  EXPECT_EQ(TimeText(time), "2023-11-14 22:13:20");
}

TEST(Tables, ColumnsAreAligned) {
  Table table({"A", "LONG", "C"});
  table.Add({"wide cell", "x", "1\n2"});
  EXPECT_EQ(table.Text(1), " A          LONG  C\n wide cell  x     1 2\n");
}

v1::QuantJob Running(const std::string& phase, int block, double fraction) {
  v1::QuantJob job = JobAt("tenants/default/jobs/j1", v1::QuantJob::RUNNING, 2);
  job.mutable_progress()->set_phase(phase);
  job.mutable_progress()->set_block(block);
  job.mutable_progress()->set_blocks(8);
  job.mutable_progress()->set_layer("model.layers.1.mlp.up_proj");
  job.mutable_progress()->set_fraction(fraction);
  job.mutable_progress()->set_eta_seconds(65);
  return job;
}

size_t Lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST(Progress, PlainLinesAreFew) {
  std::ostringstream out;
  FakeClock clock;
  ProgressView view(out, clock, {});
  view.Show(JobAt("tenants/default/jobs/j1", v1::QuantJob::QUEUED, 1));
  for (int i = 0; i < 50; ++i) view.Show(Running("quantize", 1, 0.25 + i * 0.001));
  EXPECT_EQ(Lines(out.str()), 2u);
  EXPECT_THAT(out.str(), HasSubstr("quantize   25 %  block 1/8  model.layers.1.mlp.up_proj  ETA 1:05\n"));
  clock.Advance(absl::Seconds(6));
  view.Show(Running("quantize", 2, 0.3));
  view.Show(Running("evaluate", 8, 0.9));
  view.Show(JobAt("tenants/default/jobs/j1", v1::QuantJob::SUCCEEDED, 9));
  EXPECT_EQ(Lines(out.str()), 5u);
  EXPECT_THAT(out.str(), testing::EndsWith("SUCCEEDED\n"));
}

TEST(Progress, TerminalLineIsRewrittenAndFits) {
  std::ostringstream out;
  FakeClock clock;
  {
    ProgressView view(out, clock, {.is_terminal = true, .width = 60});
    view.Show(Running("quantize", 4, 0.5));
    clock.Advance(absl::Seconds(1));
    view.Show(Running("quantize", 5, 7.0));  // beyond what can be: shown as 100 %
  }
  EXPECT_EQ(Lines(out.str()), 1u);
  EXPECT_THAT(out.str(), HasSubstr("[##########..........]  50 %"));
  EXPECT_THAT(out.str(), HasSubstr("[####################] 100 %"));
  for (absl::string_view line : absl::StrSplit(out.str(), '\r')) EXPECT_LE(line.size(), 60u + 4u) << line;
}

TEST(Progress, QueuedJobSaysWhatItWaitsFor) {
  std::ostringstream out;
  FakeClock clock;
  v1::QuantJob job = JobAt("tenants/default/jobs/j1", v1::QuantJob::QUEUED, 1);
  job.add_conditions("no registered worker has device cuda");
  ProgressView(out, clock, {}).Show(job);
  EXPECT_EQ(out.str(), "QUEUED  no registered worker has device cuda\n");
}

v1::QuantReport Report() {
  v1::QuantReport report;
  report.mutable_size()->set_original_bytes(23'000'000);
  report.mutable_size()->set_quantized_bytes(4'600'000);
  report.mutable_size()->set_compression_ratio(5);
  report.mutable_size()->set_bits_per_weight(4.25);
  report.mutable_size()->set_quantized_weights(5'767'168);
  v1::EvaluationReport& evaluation = *report.mutable_evaluation();
  evaluation.set_protocol("plain");
  evaluation.set_windows(32);
  evaluation.set_context(512);
  evaluation.set_targets(16352);
  evaluation.set_perplexity_original(12.5);
  evaluation.set_perplexity_original_error(0.125);
  evaluation.set_perplexity_quantized(13);
  evaluation.set_perplexity_quantized_error(0.25);
  evaluation.set_log_perplexity_ratio(0);
  evaluation.set_log_perplexity_ratio_error(0.001);
  evaluation.set_kl_mean(0.0125);
  evaluation.set_kl_p99(0.25);
  evaluation.set_same_top1(0.9375);
  evaluation.set_same_top1_error(0.0025);
  report.mutable_speed()->set_kernel("dequantized");
  report.mutable_speed()->set_decode_tokens_per_second_quantized(98.5);
  report.mutable_speed()->set_threads(2);
  return report;
}

TEST(Figures, EveryFigureIsThere) {
  const std::string text = FiguresText(Report());
  for (const char* part :
       {"23.0 MB -> 4.60 MB (5.00 times smaller)", "4.250 over 5,767,168", "12.5000 +- 0.1250 -> 13.0000 +- 0.2500",
        "ratio 1.0000 +- 0.0010", "mean 0.01250, 99th percentile 0.25000", "93.75 % +- 0.25 %",
        "16,352 targets in 32 windows of 512 tokens, protocol plain", "98.5 tokens/s",
        "dequantized (multiplied as f32: no speed-up is claimed), 2 threads"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(Figures, AbsentPartsAreLeftOut) {
  v1::QuantReport report = Report();
  report.clear_evaluation();
  report.clear_speed();
  EXPECT_THAT(FiguresText(report), Not(HasSubstr("perplexity")));
  EXPECT_EQ(FiguresText({}), "");
  EXPECT_EQ(LayersText({}, 10), "");
  EXPECT_EQ(ArtifactText({}), "");
}

TEST(Figures, WorstLayersComeFirst) {
  v1::QuantReport report;
  for (const auto& [name, error] : {std::pair{"a", 0.1}, {"b", 0.3}, {"c", 0.2}}) {
    v1::LayerReport* const layer = report.add_layers();
    layer->set_name(name);
    layer->set_relative_output_error(error);
    layer->set_nearest_fallback(error > 0.25);
  }
  const std::string text = LayersText(report, 2);
  EXPECT_LT(text.find("\nb "), text.find("\nc "));
  EXPECT_EQ(text.find("\na "), std::string::npos);
  EXPECT_THAT(text, HasSubstr("fell back to nearest"));
  EXPECT_THAT(text, HasSubstr("2 largest errors of 3"));
}

v1::ListRecipesResponse Catalogue() {
  v1::ListRecipesResponse catalogue;
  v1::Preset& gptq = *catalogue.add_presets();
  gptq.set_name("gptq");
  gptq.set_summary("one line");
  (*gptq.mutable_parts())["solver"] = "optq";
  (*gptq.mutable_defaults())["damping"] = "0.05";
  for (const auto& [name, parameter] : {std::pair{"optq", "damping"}, {"nearest", "rounding"}}) {
    v1::PartChoice* const choice = catalogue.add_choices();
    choice->set_part("solver");
    choice->set_name(name);
    choice->add_parameters(parameter);
  }
  for (const char* name : {"damping", "rounding", "solver"}) {
    v1::Parameter* const parameter = catalogue.add_parameters();
    parameter->set_name(name);
    parameter->set_type("float");
    parameter->set_default_value("1");
    parameter->set_maximum(10);
  }
  return catalogue;
}

TEST(Recipes, PresetShowsWhatItReads) {
  ASSERT_OK_AND_ASSIGN(const std::string text, RecipeText(Catalogue(), "gptq"));
  EXPECT_THAT(text, testing::ContainsRegex("damping +float +0.05 +0 to 10"));
  EXPECT_THAT(text, testing::ContainsRegex("solver +float +optq"));
  EXPECT_THAT(text, Not(HasSubstr("rounding")));
  EXPECT_THAT(RecipeText(Catalogue(), "gtpq"), FailsWith("RECIPE_UNKNOWN", "known: gptq"));
  EXPECT_THAT(RecipesText(Catalogue()), HasSubstr("gptq    one line"));
}

}  // namespace
}  // namespace quantd
