#include "core/pipeline/job_estimate.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/pipeline/block_gradients.h"
#include "core/pipeline/job_plan.h"
#include "core/quant/grid.h"
#include "core/quant/sensitivity.h"

namespace quantd {
namespace {

constexpr int64_t kProgramBytes = 64 << 20;  // code, buffers, one sequence's activations in a small model

// Matrices that solving a layer holds beside its statistics: H, and the factor with its working copy.
int64_t SolverBytes(const SitePlan& plan) {
  return NeedsCalibration(absl::MakeConstSpan(&plan, 1)) ? 12 * plan.site.cols * plan.site.cols : 0;
}

class Estimator {
 public:
  Estimator(const JobPlan& plan, uint64_t memory_budget_bytes)
      : plan_(plan),
        model_(*plan.source.model),
        config_(model_.config()),
        gradients_(std::any_of(plan.sites.begin(), plan.sites.end(), NeedsGradients)),
        budget_bytes_(memory_budget_bytes),
        shares_(SharesOf(memory_budget_bytes, gradients_)) {
    for (const TokenSequence& sequence : plan.calibration) {
      calibration_tokens_ += static_cast<int64_t>(sequence.size());
    }
    for (const EvaluationWindow& window : plan.evaluation.windows) {
      evaluation_tokens_ += static_cast<int64_t>(window.tokens.size());
    }
  }

  absl::StatusOr<JobEstimate> Run() {
    RETURN_IF_ERROR(AddWeights());
    AddBlocks();
    AddWork();
    RETURN_IF_ERROR(AddBoundaries());
    AddMemoryAndDisk();
    return std::move(estimate_);
  }

 private:
  absl::Status AddWeights();
  void AddBlocks();
  void AddWork();
  absl::Status AddBoundaries();
  int64_t BoundaryBytes() const { return 4 * config_.hidden_size * calibration_tokens_; }
  void AddBoundary(const char* name, int64_t count, uint64_t share_bytes);
  void AddMemoryAndDisk();
  double EvaluationWork() const;
  int64_t CheckpointBytes() const;

  const JobPlan& plan_;
  const Transformer& model_;
  const ModelConfig& config_;
  const bool gradients_;
  const uint64_t budget_bytes_;
  const MemoryShares shares_;
  int64_t calibration_tokens_ = 0, evaluation_tokens_ = 0;
  int64_t source_bytes_ = 0;      // of what is replaced
  int64_t largest_block_ = 0;     // weights
  int64_t block_statistics_ = 0;  // bytes of all rounds of the block with the most
  int64_t round_bytes_ = 0;       // most that a round's statistics and the solver take
  JobEstimate estimate_;
};

absl::Status Estimator::AddWeights() {
  double packed_bits = 0;
  int64_t weights = 0;
  for (const SitePlan& site : plan_.sites) {
    ++(site.skip ? estimate_.skipped_layers : estimate_.quantized_layers);
    if (site.skip) continue;
    ASSIGN_OR_RETURN(const Dtype dtype, model_.weights().StoredDtype(site.site.name + ".weight"));
    weights += site.site.rows * site.site.cols;
    packed_bits += MakeGrid(site.parameters)->PlannedBits(site.site.rows, site.site.cols);
    source_bytes_ += site.site.rows * site.site.cols * DtypeBytes(dtype);
  }
  const int64_t stored_bytes = static_cast<int64_t>(model_.weights().StoredBytes());
  estimate_.artifact_bytes = stored_bytes - source_bytes_ + static_cast<int64_t>(packed_bits / 8);
  if (weights > 0) estimate_.bits_per_weight = packed_bits / static_cast<double>(weights);
  return absl::OkStatus();
}

void Estimator::AddBlocks() {
  for (int block = 0; block < config_.blocks; ++block) {
    int64_t weights = 0;
    for (const LinearSite& site : model_.block_sites(block)) weights += site.rows * site.cols;
    largest_block_ = std::max(largest_block_, weights);
    std::vector<RoundEstimate> rounds;
    int64_t statistics = 0;
    int number = 0;
    for (const SitePlans& pass : Passes(BlockPlans(model_, plan_.sites, block))) {
      ++number;
      for (const SitePlans& round : Rounds(pass, shares_.statistics)) {
        RoundEstimate row{number, {}, static_cast<int64_t>(StatisticsBytes(round))};
        int64_t solver = 0;
        for (const SitePlan* site : round) {
          row.layers.push_back(site->site.name);
          solver = std::max(solver, SolverBytes(*site));
        }
        statistics += row.statistics_bytes;
        round_bytes_ = std::max(round_bytes_, row.statistics_bytes + solver);
        rounds.push_back(std::move(row));
      }
    }
    if (estimate_.rounds.empty() || statistics > block_statistics_) estimate_.rounds = std::move(rounds);
    block_statistics_ = std::max(block_statistics_, statistics);
  }
}

void Estimator::AddWork() {
  estimate_.work = QuantizeWorkRows(model_, plan_.sites, calibration_tokens_, shares_.statistics);
  estimate_.evaluation_multiply_adds = EvaluationWork();
  if (evaluation_tokens_ > 0) {
    estimate_.work.push_back({"evaluation of both models", 1, estimate_.evaluation_multiply_adds});
  }
  for (const WorkRow& row : estimate_.work) estimate_.multiply_adds += row.multiply_adds;
  estimate_.statistics_budget_bytes = budget_bytes_ == 0 ? 0 : static_cast<int64_t>(shares_.statistics);
}

double Estimator::EvaluationWork() const {
  double weights = static_cast<double>(config_.vocabulary_size * config_.embedding_size);
  for (const SitePlan& site : plan_.sites) weights += static_cast<double>(site.site.rows * site.site.cols);
  return 2 * weights * static_cast<double>(evaluation_tokens_);
}

absl::Status Estimator::AddBoundaries() {
  if (calibration_tokens_ == 0) return absl::OkStatus();
  AddBoundary("activations, quantized model", 1, shares_.activations);
  ASSIGN_OR_RETURN(const auto plan, GradientPlanOf(plan_.sites));
  if (!plan.has_value()) return absl::OkStatus();
  estimate_.gradients = true;
  const SitePlan& site = *std::find_if(plan_.sites.begin(), plan_.sites.end(), NeedsGradients);
  estimate_.gradients_text = absl::StrFormat("hessian_model=%s, labels=%s", site.parameters.Text("hessian_model"),
                                             site.parameters.Text("labels"));
  if (plan->hessian_model == HessianModel::kFull) {
    AddBoundary("activations, original model", 1, shares_.original_activations);
  }
  // Behind the prefix, the first block's output is the first boundary.
  const int64_t boundaries = config_.blocks + (plan->hessian_model == HessianModel::kPrefix ? 0 : 1);
  AddBoundary("gradients", boundaries, GradientBytesInMemory(budget_bytes_, static_cast<uint64_t>(BoundaryBytes())));
  return absl::OkStatus();
}

// As many as fit stay in memory, as where they are made.
void Estimator::AddBoundary(const char* name, int64_t count, uint64_t share_bytes) {
  const int64_t bytes = BoundaryBytes();
  const int64_t kept = static_cast<int64_t>(
      std::min<uint64_t>(static_cast<uint64_t>(count), share_bytes / static_cast<uint64_t>(bytes)));
  estimate_.boundaries.push_back({name, count, count * bytes, (count - kept) * bytes});
}

// Two generations of the largest checkpoint, less the shards, which are links. Within a block: its boundary, statistics
// and packed layers; while evaluating: hidden states of both models and a dozen numbers a token.
int64_t Estimator::CheckpointBytes() const {
  int64_t quantizing = largest_block_ + (calibration_tokens_ > 0 ? block_statistics_ : 0);
  for (const BoundaryEstimate& boundary : estimate_.boundaries) quantizing += boundary.bytes;
  return 2 * std::max(quantizing, (8 * config_.hidden_size + 96) * evaluation_tokens_);
}

// One block in f32 twice (weights and their replacement), statistics and the solver's matrices, or the head and logits;
// what is kept at boundaries; evaluation's are no larger than half the budget.
void Estimator::AddMemoryAndDisk() {
  int64_t in_memory = 0, spilled = 0;
  for (const BoundaryEstimate& boundary : estimate_.boundaries) {
    in_memory += boundary.bytes - boundary.spilled_bytes;
    spilled += boundary.spilled_bytes;
  }
  const int64_t evaluating = 8 * config_.hidden_size * evaluation_tokens_;
  const bool evaluation_spills = budget_bytes_ != 0 && evaluating > static_cast<int64_t>(budget_bytes_ / 2);
  const int64_t head = plan_.evaluation.windows.empty() && !estimate_.gradients
                           ? 0
                           : 8 * config_.vocabulary_size * config_.embedding_size;
  estimate_.peak_memory_bytes = 8 * largest_block_ + std::max(round_bytes_, head) +
                                std::max(in_memory, evaluation_spills ? 0 : evaluating) + kProgramBytes;
  estimate_.checkpoint_bytes = CheckpointBytes();
  estimate_.disk_bytes = estimate_.artifact_bytes * (1 + static_cast<int64_t>(plan_.spec.exports.size())) +
                         std::max(spilled, evaluation_spills ? evaluating : 0) + estimate_.checkpoint_bytes;
}

}  // namespace

absl::StatusOr<JobEstimate> EstimateJob(const JobPlan& plan, uint64_t memory_budget_bytes) {
  return Estimator(plan, memory_budget_bytes).Run();
}

absl::Status CheckMemory(const JobPlan& plan, uint64_t memory_budget_bytes) {
  if (memory_budget_bytes == 0) return absl::OkStatus();
  const Transformer& model = *plan.source.model;
  const SitePlan* most = nullptr;
  int64_t weight_bytes = 0, matrix_bytes = 0;
  for (const SitePlan& site : plan.sites) {
    if (site.skip) continue;
    int64_t weights = 0;
    for (const LinearSite& other : model.block_sites(site.site.block)) weights += other.rows * other.cols;
    const int64_t matrices = static_cast<int64_t>(SensitivityBytes(site)) + SolverBytes(site);
    if (most != nullptr && 8 * weights + matrices <= weight_bytes + matrix_bytes) continue;
    most = &site;
    weight_bytes = 8 * weights;
    matrix_bytes = matrices;
  }
  if (most == nullptr || weight_bytes + matrix_bytes <= static_cast<int64_t>(memory_budget_bytes)) {
    return absl::OkStatus();
  }
  return ReasonError(
      absl::StatusCode::kResourceExhausted, "MEMORY_BUDGET_EXCEEDED",
      absl::StrFormat(
          "%s: its statistics and their factor take %d bytes, the weights of its block %d, together %d; the "
          "budget is %d bytes; give a larger one, use a machine with more memory, or skip the layer",
          most->site.name, matrix_bytes, weight_bytes, weight_bytes + matrix_bytes, memory_budget_bytes));
}

}  // namespace quantd
