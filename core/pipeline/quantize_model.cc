#include "core/pipeline/quantize_model.h"

#include <utility>

#include "core/base/status.h"
#include "core/pipeline/block_quantizer.h"

namespace quantd {

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
    const size_t passes = Passes(plans.subspan(begin, model.block_sites(block).size())).size();
    // The last block's outputs are nobody's inputs.
    const size_t advances = block + 1 < model.config().blocks ? 1 : 0;
    work += BlockWork(model, block, calibration_tokens) * static_cast<double>(passes + advances);
  }
  return work;
}

}  // namespace quantd
