#include "core/pipeline/quantize_model.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/base/status.h"
#include "core/pipeline/block_quantizer.h"
#include "core/quant/sensitivity.h"

namespace quantd {
namespace {

double CollectWork(const Transformer& model, int block, const std::vector<const SitePlan*>& pass, int64_t tokens) {
  const auto needs_gradients = [](const SitePlan* plan) { return NeedsGradients(*plan); };
  double work = 0;
  if (!std::all_of(pass.begin(), pass.end(), needs_gradients)) work += BlockWork(model, block, tokens);
  if (std::any_of(pass.begin(), pass.end(), needs_gradients)) work += BlockGradientWork(model, block, tokens);
  return work;
}

// Of the passes over the whole model, or over the blocks after each.
double ModelGradientWork(const Transformer& model, absl::Span<const SitePlan> plans, int64_t tokens) {
  const auto gradients = GradientPlanOf(plans);
  if (!gradients.ok() || !gradients->has_value()) return 0;
  if ((*gradients)->hessian_model != HessianModel::kPrefix) return GradientPassWork(model, 0, tokens);
  double work = 0;
  for (int block = 0; block < model.config().blocks; ++block) {
    const size_t begin = static_cast<size_t>(model.block_sites(block).data() - model.sites().data());
    const double passes = static_cast<double>(Passes(plans.subspan(begin, model.block_sites(block).size())).size());
    work += passes * (GradientPassWork(model, block + 1, tokens) + BlockWork(model, block, tokens));
  }
  return work;
}

}  // namespace

absl::Status QuantizeModel(const ExecutionContext& context, const Transformer& model, const QuantizeOptions& options,
                           Progress& progress, const BlockSink& sink) {
  BlockQuantizer quantizer(context, model, options, progress);
  RETURN_IF_ERROR(progress.BeginPhase("calibrate"));
  RETURN_IF_ERROR(quantizer.Prepare());
  RETURN_IF_ERROR(progress.BeginPhase("quantize"));
  while (!quantizer.done()) RETURN_IF_ERROR(quantizer.RunBlock(sink));
  return absl::OkStatus();
}

double QuantizeWork(const Transformer& model, absl::Span<const SitePlan> plans, int64_t calibration_tokens) {
  double work = 0;
  for (const SitePlan& plan : plans) work += plan.skip ? 0 : SolveWork(plan);
  for (int block = 0; block < model.config().blocks && calibration_tokens > 0; ++block) {
    const size_t begin = static_cast<size_t>(model.block_sites(block).data() - model.sites().data());
    const auto passes = Passes(plans.subspan(begin, model.block_sites(block).size()));
    for (const auto& pass : passes) work += CollectWork(model, block, pass, calibration_tokens);
    // The last block's outputs are nobody's inputs.
    if (block + 1 < model.config().blocks) work += BlockWork(model, block, calibration_tokens);
  }
  return work + ModelGradientWork(model, plans, calibration_tokens);
}

}  // namespace quantd
