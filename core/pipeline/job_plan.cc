#include "core/pipeline/job_plan.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/pipeline/export_gptq.h"
#include "core/pipeline/quantize_model.h"
#include "core/quant/grid.h"
#include "core/quant/sensitivity.h"

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

double PackedBits(const SitePlan& plan) {
  return MakeGrid(plan.parameters)->PlannedBits(plan.site.rows, plan.site.cols);
}

struct WeightTotals {
  int64_t weights = 0;
  double packed_bits = 0;
  int64_t source_bytes = 0;   // of what is replaced
  int64_t largest_block = 0;  // weights
  int64_t largest_inputs = 0;
  int64_t block_statistics_bytes = 0;  // of the block with the most: f64 sums, one matrix an input, or a site
};

absl::StatusOr<WeightTotals> Totals(const JobPlan& plan) {
  WeightTotals totals;
  for (const SitePlan& site : plan.sites) {
    totals.largest_inputs = std::max(totals.largest_inputs, site.site.cols);
    if (site.skip) continue;
    ASSIGN_OR_RETURN(const Dtype dtype, plan.source.model->weights().StoredDtype(site.site.name + ".weight"));
    totals.weights += site.site.rows * site.site.cols;
    totals.packed_bits += PackedBits(site);
    totals.source_bytes += site.site.rows * site.site.cols * DtypeBytes(dtype);
  }
  size_t index = 0;
  for (int block = 0; block < plan.source.model->config().blocks; ++block) {
    int64_t weights = 0;
    std::map<std::pair<int, int>, int64_t> statistics;  // by input; gradients also by site
    for (const LinearSite& site : plan.source.model->block_sites(block)) {
      const SitePlan& site_plan = plan.sites[index++];
      weights += site.rows * site.cols;
      const bool own = NeedsGradients(site_plan);
      const int64_t matrices = own && site_plan.parameters.Double("shrinkage") > 0 ? 2 : 1;
      statistics[{site.input_group, own ? site.index : -1}] = matrices * 8 * site.cols * site.cols;
    }
    int64_t statistics_bytes = 0;
    for (const auto& [input, bytes] : statistics) statistics_bytes += bytes;
    totals.largest_block = std::max(totals.largest_block, weights);
    totals.block_statistics_bytes = std::max(totals.block_statistics_bytes, statistics_bytes);
  }
  return totals;
}

double EvaluationWork(const JobPlan& plan) {
  double weights =
      static_cast<double>(plan.source.model->config().vocabulary_size * plan.source.model->config().embedding_size);
  for (const SitePlan& site : plan.sites) weights += static_cast<double>(site.site.rows * site.site.cols);
  double tokens = 0;
  for (const EvaluationWindow& window : plan.evaluation.windows) tokens += static_cast<double>(window.tokens.size());
  return 2 * weights * tokens;
}

// Of the gradients at all boundaries between blocks, and the original model's activations at one.
int64_t GradientBytes(const JobPlan& plan, int64_t calibration_tokens) {
  if (std::none_of(plan.sites.begin(), plan.sites.end(), NeedsGradients)) return 0;
  const ModelConfig& config = plan.source.model->config();
  return 4 * (config.blocks + 2) * config.hidden_size * calibration_tokens;
}

// Two generations of the largest checkpoint, less the shards, which are links. Within a block: its boundary, statistics
// and packed layers; while evaluating: hidden states of both models and a dozen numbers a token.
int64_t CheckpointBytes(const JobPlan& plan, const WeightTotals& totals, int64_t calibration_tokens,
                        int64_t evaluation_tokens) {
  const int64_t hidden_size = plan.source.model->config().hidden_size;
  const int64_t statistics = calibration_tokens > 0 ? totals.block_statistics_bytes : 0;
  const int64_t quantizing = 4 * hidden_size * calibration_tokens + statistics + totals.largest_block +
                             GradientBytes(plan, calibration_tokens);
  const int64_t evaluating = (8 * hidden_size + 96) * evaluation_tokens;
  return 2 * std::max(quantizing, evaluating);
}

absl::Status Estimate(JobPlan& plan, uint64_t memory_budget_bytes) {
  ASSIGN_OR_RETURN(const WeightTotals totals, Totals(plan));
  const ModelConfig& config = plan.source.model->config();
  JobEstimate& estimate = plan.estimate;
  for (const SitePlan& site : plan.sites) ++(site.skip ? estimate.skipped_layers : estimate.quantized_layers);
  const int64_t source_bytes = static_cast<int64_t>(plan.source.model->weights().StoredBytes());
  estimate.artifact_bytes = source_bytes - totals.source_bytes + static_cast<int64_t>(totals.packed_bits / 8);
  if (totals.weights > 0) {
    estimate.bits_per_weight = totals.packed_bits / static_cast<double>(totals.weights);
  }
  int64_t calibration_tokens = 0, evaluation_tokens = 0;
  for (const TokenSequence& sequence : plan.calibration) calibration_tokens += static_cast<int64_t>(sequence.size());
  for (const EvaluationWindow& window : plan.evaluation.windows) {
    evaluation_tokens += static_cast<int64_t>(window.tokens.size());
  }
  estimate.evaluation_multiply_adds = EvaluationWork(plan);
  estimate.multiply_adds =
      QuantizeWork(*plan.source.model, plan.sites, calibration_tokens) + estimate.evaluation_multiply_adds;
  // One block in f32 twice (weights and their replacement), statistics in f64 and f32, boundaries, logits, mapped
  // files.
  const int64_t gradients = GradientBytes(plan, calibration_tokens);
  const int64_t statistics =
      std::max(16 * totals.largest_inputs * totals.largest_inputs, gradients > 0 ? totals.block_statistics_bytes : 0);
  const int64_t boundary = 4 * config.hidden_size * std::max(calibration_tokens, 2 * evaluation_tokens) + gradients;
  const int64_t head = plan.evaluation.windows.empty() ? 0 : 8 * config.vocabulary_size * config.embedding_size;
  const bool spilled = memory_budget_bytes != 0 && boundary > static_cast<int64_t>(memory_budget_bytes / 2);
  estimate.peak_memory_bytes =
      8 * totals.largest_block + std::max(statistics, head) + (spilled ? 0 : boundary) + (64 << 20);
  estimate.checkpoint_bytes = CheckpointBytes(plan, totals, calibration_tokens, evaluation_tokens);
  estimate.disk_bytes = estimate.artifact_bytes * (1 + static_cast<int64_t>(plan.spec.exports.size())) +
                        (spilled ? boundary : 0) + estimate.checkpoint_bytes;
  return absl::OkStatus();
}

// Everything but the boundaries, which spill, must fit.
absl::Status CheckMemory(const JobPlan& plan, uint64_t budget_bytes) {
  ASSIGN_OR_RETURN(const WeightTotals totals, Totals(plan));
  const int64_t needed = 8 * totals.largest_block + 16 * totals.largest_inputs * totals.largest_inputs;
  if (budget_bytes == 0 || needed <= static_cast<int64_t>(budget_bytes)) return absl::OkStatus();
  return ReasonError(
      absl::StatusCode::kResourceExhausted, "MEMORY_BUDGET_EXCEEDED",
      absl::StrFormat("one block and its statistics need about %d bytes, the budget is %d; use a machine with "
                      "more memory",
                      needed, budget_bytes));
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

Json JobEstimate::ToJson() const {
  return Json{{"peak_memory_bytes", peak_memory_bytes}, {"disk_bytes", disk_bytes},
              {"artifact_bytes", artifact_bytes},       {"bits_per_weight", bits_per_weight},
              {"multiply_adds", multiply_adds},         {"quantized_layers", quantized_layers},
              {"skipped_layers", skipped_layers}};
}

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
  RETURN_IF_ERROR(Estimate(plan, memory_budget_bytes));
  RETURN_IF_ERROR(CheckMemory(plan, memory_budget_bytes));
  return plan;
}

}  // namespace quantd
