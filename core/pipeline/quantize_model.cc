#include "core/pipeline/quantize_model.h"

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

}  // namespace quantd
