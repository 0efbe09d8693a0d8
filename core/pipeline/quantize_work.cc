#include "core/pipeline/quantize_work.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/pipeline/block_gradients.h"
#include "core/quant/sensitivity.h"

namespace quantd {
namespace {

bool AnyNeedsGradients(const SitePlans& plans) {
  return std::any_of(plans.begin(), plans.end(), [](const SitePlan* plan) { return NeedsGradients(*plan); });
}

bool AnyNeedsInputs(const SitePlans& plans) {
  return std::any_of(plans.begin(), plans.end(), [](const SitePlan* plan) {
    return !NeedsGradients(*plan) && NeedsCalibration(absl::MakeConstSpan(plan, 1));
  });
}

// Whose statistics a layer uses: those of its input, or its own.
std::pair<int, int> StatisticsKey(const SitePlan& plan) {
  return {plan.site.input_group, NeedsGradients(plan) ? plan.site.index : -1};
}

class WorkSum {
 public:
  WorkSum(const Transformer& model, absl::Span<const SitePlan> plans, int64_t tokens, uint64_t statistics_budget_bytes)
      : model_(model), plans_(plans), tokens_(tokens), statistics_budget_bytes_(statistics_budget_bytes) {}

  std::vector<WorkRow> Rows() {
    const auto gradients = GradientPlanOf(plans_);
    if (gradients.ok() && gradients->has_value()) AddModelGradients((*gradients)->hessian_model);
    for (const SitePlan& plan : plans_) {
      if (!plan.skip) Add(solving_, SolveWork(plan));
    }
    for (int block = 0; block < model_.config().blocks && tokens_ > 0; ++block) AddBlock(block);
    std::vector<WorkRow> rows;
    for (WorkRow* row : {&original_, &behind_, &inputs_, &gradients_, &solving_, &advancing_, &originals_}) {
      if (row->times > 0) rows.push_back(*row);
    }
    return rows;
  }

 private:
  static void Add(WorkRow& row, double multiply_adds) {
    ++row.times;
    row.multiply_adds += multiply_adds;
  }

  void AddModelGradients(HessianModel hessian_model) {
    const int blocks = model_.config().blocks;
    if (hessian_model != HessianModel::kPrefix) Add(original_, GradientPassWork(model_, 0, tokens_));
    for (int block = 0; block < blocks; ++block) {
      const bool last = block + 1 == blocks;
      if (hessian_model == HessianModel::kFull && !last) Add(originals_, BlockWork(model_, block, tokens_));
      if (hessian_model != HessianModel::kPrefix) continue;
      for (const SitePlans& pass : Passes(BlockPlans(model_, plans_, block))) {
        if (!AnyNeedsGradients(pass)) continue;
        Add(behind_, GradientPassWork(model_, block + 1, tokens_) + BlockWork(model_, block, tokens_));
      }
    }
  }

  void AddBlock(int block) {
    for (const SitePlans& pass : Passes(BlockPlans(model_, plans_, block))) {
      for (const SitePlans& round : Rounds(pass, statistics_budget_bytes_)) {
        if (AnyNeedsInputs(round)) Add(inputs_, BlockWork(model_, block, tokens_));
        if (AnyNeedsGradients(round)) Add(gradients_, BlockGradientWork(model_, block, tokens_));
      }
    }
    // The last block's outputs are nobody's inputs.
    if (block + 1 < model_.config().blocks) Add(advancing_, BlockWork(model_, block, tokens_));
  }

  const Transformer& model_;
  const absl::Span<const SitePlan> plans_;
  const int64_t tokens_;
  const uint64_t statistics_budget_bytes_;
  WorkRow original_{"passes over the original model, forward and backward"};
  WorkRow behind_{"passes over the blocks behind one, forward and backward"};
  WorkRow inputs_{"blocks run for their layers' inputs"};
  WorkRow gradients_{"blocks run forward and backward for their layers' gradients"};
  WorkRow solving_{"layers quantized"};
  WorkRow advancing_{"blocks run to the next one, quantized"};
  WorkRow originals_{"blocks run to the next one, original"};
};

}  // namespace

std::vector<SitePlans> Passes(absl::Span<const SitePlan> plans) {
  std::vector<SitePlans> passes;
  int last_group = -1;
  for (const SitePlan& plan : plans) {
    if (plan.skip) continue;
    const bool own_pass = plan.parameters.Bool("true_sequential") && plan.site.input_group != last_group;
    if (passes.empty() || own_pass) passes.emplace_back();
    passes.back().push_back(&plan);
    last_group = plan.site.input_group;
  }
  return passes;
}

uint64_t StatisticsBytes(const SitePlans& plans) {
  std::set<std::pair<int, int>> counted;
  uint64_t bytes = 0;
  for (const SitePlan* plan : plans) {
    if (counted.insert(StatisticsKey(*plan)).second) bytes += SensitivityBytes(*plan);
  }
  return bytes;
}

std::vector<SitePlans> Rounds(const SitePlans& pass, uint64_t statistics_budget_bytes) {
  std::vector<SitePlans> rounds;
  for (const SitePlan* plan : pass) {
    if (!rounds.empty()) {
      SitePlans longer = rounds.back();
      longer.push_back(plan);
      // A layer whose statistics are there already costs nothing more.
      if (StatisticsBytes(longer) <= std::max(statistics_budget_bytes, StatisticsBytes(rounds.back()))) {
        rounds.back() = std::move(longer);
        continue;
      }
    }
    rounds.push_back({plan});
  }
  return rounds;
}

MemoryShares SharesOf(uint64_t budget_bytes, bool gradients) {
  const uint64_t budget = budget_bytes == 0 ? UINT64_MAX : budget_bytes;
  if (!gradients) return {.activations = budget / 2, .statistics = budget / 4};
  return {
      .activations = budget / 8, .original_activations = budget / 8, .gradients = budget / 4, .statistics = budget / 4};
}

uint64_t GradientBytesInMemory(uint64_t budget_bytes, uint64_t boundary_bytes) {
  return std::min(SharesOf(budget_bytes, true).gradients, 2 * boundary_bytes);
}

absl::Span<const SitePlan> BlockPlans(const Transformer& model, absl::Span<const SitePlan> plans, int block) {
  const absl::Span<const LinearSite> sites = model.block_sites(block);
  return plans.subspan(static_cast<size_t>(sites.data() - model.sites().data()), sites.size());
}

double BlockWork(const Transformer& model, int block, int64_t tokens) {
  double weights = 0;
  for (const LinearSite& site : model.block_sites(block)) weights += static_cast<double>(site.rows * site.cols);
  return weights * static_cast<double>(tokens);
}

double SolveWork(const SitePlan& plan) {
  constexpr double kRoundingWork = 256;  // of one weight: the search for a range, in multiply-adds that take as long
  const double rows = static_cast<double>(plan.site.rows), cols = static_cast<double>(plan.site.cols);
  if (!NeedsCalibration(absl::MakeConstSpan(&plan, 1))) return kRoundingWork * rows * cols;
  return rows * cols * cols / 2 + cols * cols * cols / 3;
}

std::vector<WorkRow> QuantizeWorkRows(const Transformer& model, absl::Span<const SitePlan> plans,
                                      int64_t calibration_tokens, uint64_t statistics_budget_bytes) {
  return WorkSum(model, plans, calibration_tokens, statistics_budget_bytes).Rows();
}

}  // namespace quantd
