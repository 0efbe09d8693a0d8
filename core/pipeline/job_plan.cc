#include "core/pipeline/job_plan.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/pipeline/export_gptq.h"
#include "core/pipeline/quantize_model.h"

namespace quantd {
namespace {

constexpr int64_t kDefaultTokens =
    2048;  // of a calibration sequence or an evaluation window, when the model has as many

int64_t DefaultLength(const Transformer& model) {
  const int64_t context = model.config().context;
  return context == 0 ? kDefaultTokens : std::min(kDefaultTokens, context);
}

absl::Status CheckContext(const Transformer& model, int64_t tokens, absl::string_view field) {
  if (model.config().context == 0 || tokens <= model.config().context) return absl::OkStatus();
  return WithField(InvalidInput("JOB_FIELD_OUT_OF_RANGE", absl::StrFormat("%s is %d; the model's context is %d tokens",
                                                                          field, tokens, model.config().context)),
                   field);
}

bool WantsBos(const JobSpec& spec, const Tokenizer& tokenizer) {
  return spec.bos == "always" || (spec.bos == "auto" && tokenizer.adds_bos());
}

absl::Status ReadCalibration(JobPlan& plan) {
  if (plan.spec.calibration_file.empty()) {
    return WithField(
        InvalidInput("CALIBRATION_REQUIRED",
                     absl::StrFormat("recipe '%s' measures the layers' inputs and needs a calibration text",
                                     plan.recipe.preset)),
        "spec.calibration.file");
  }
  JobSpec& spec = plan.spec;
  if (spec.calibration_length == 0) spec.calibration_length = DefaultLength(*plan.source.model);
  if (spec.calibration_sequences == 0) spec.calibration_sequences = plan.recipe.parameters.Int("calibration_sequences");
  RETURN_IF_ERROR(CheckContext(*plan.source.model, spec.calibration_length, "spec.calibration.length"));
  ASSIGN_OR_RETURN(const Corpus corpus, ReadCorpus(spec.calibration_file));
  plan.calibration_sha256 = corpus.sha256;
  plan.calibration_bos = WantsBos(spec, *plan.source.tokenizer);
  const CalibrationOptions options{.sequences = spec.calibration_sequences,
                                   .length = spec.calibration_length,
                                   .seed = spec.seed,
                                   .bos = plan.calibration_bos};
  ASSIGN_OR_RETURN(plan.calibration, CalibrationSequences(corpus, *plan.source.tokenizer, options));
  return absl::OkStatus();
}

absl::Status ReadEvaluation(JobPlan& plan) {
  JobSpec& spec = plan.spec;
  if (spec.evaluation_file.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Corpus corpus, ReadCorpus(spec.evaluation_file));
  plan.evaluation_sha256 = corpus.sha256;
  if (corpus.sha256 == plan.calibration_sha256) {
    return WithField(
        InvalidInput("EVALUATION_TEXT_IS_CALIBRATION_TEXT",
                     absl::StrFormat("%s has the same content as the calibration text: measured on it, every "
                                     "loss looks too small; give another text",
                                     spec.evaluation_file)),
        "spec.evaluation.file");
  }
  const bool fixed_context = spec.protocol == "gptq-2048" || spec.protocol == "llamacpp-512";
  if (spec.evaluation_context == 0 && !fixed_context) spec.evaluation_context = DefaultLength(*plan.source.model);
  ASSIGN_OR_RETURN(plan.evaluation, EvaluationWindows(corpus, *plan.source.tokenizer, spec.protocol,
                                                      spec.evaluation_context, spec.evaluation_windows));
  spec.evaluation_context = static_cast<int64_t>(plan.evaluation.windows[0].tokens.size());
  return CheckContext(*plan.source.model, spec.evaluation_context, "spec.evaluation.context");
}

absl::StatusOr<int64_t> CountParameters(const WeightSource& weights) {
  int64_t count = 0;
  for (const std::string& name : weights.Names()) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> shape, weights.Shape(name));
    int64_t elements = 1;
    for (const int64_t dimension : shape) elements *= dimension;
    count += elements;
  }
  return count;
}

}  // namespace

absl::StatusOr<JobPlan> PlanJob(const JobRoots& roots, JobSpec spec, uint64_t memory_budget_bytes) {
  JobPlan plan;
  ASSIGN_OR_RETURN(plan.recipe, MakeRecipe(spec.preset, spec.overrides, spec.rules));
  RETURN_IF_ERROR(ResolveJobPaths(roots, spec));
  plan.spec = std::move(spec);
  ASSIGN_OR_RETURN(plan.source, OpenModelFolder(plan.spec.model, /*with_tokenizer=*/true));
  if (plan.source.artifact != nullptr) {
    return WithField(
        InvalidInput("MODEL_ALREADY_QUANTIZED",
                     absl::StrFormat("%s is a quantized artifact; give the original model", plan.spec.model)),
        "spec.model");
  }
  ASSIGN_OR_RETURN(plan.parameters, CountParameters(plan.source.model->weights()));
  ASSIGN_OR_RETURN(plan.sites, PlanSites(plan.recipe, plan.source.model->sites()));
  if (!plan.spec.exports.empty()) RETURN_IF_ERROR(CheckGptqExport(plan.sites));
  if (NeedsCalibration(plan.sites)) RETURN_IF_ERROR(ReadCalibration(plan));
  RETURN_IF_ERROR(ReadEvaluation(plan));
  ASSIGN_OR_RETURN(plan.estimate, EstimateJob(plan, memory_budget_bytes));
  RETURN_IF_ERROR(CheckMemory(plan, memory_budget_bytes));
  return plan;
}

}  // namespace quantd
