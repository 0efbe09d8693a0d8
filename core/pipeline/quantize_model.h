// Calibrate and quantize, block by block: one block's f32 weights, its statistics and one boundary of activations are
// all that is held. Each block sees the inputs that the quantized blocks before it produce.
#ifndef QUANTD_CORE_PIPELINE_QUANTIZE_MODEL_H_
#define QUANTD_CORE_PIPELINE_QUANTIZE_MODEL_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/compute/execution_context.h"
#include "core/model/transformer.h"
#include "core/pipeline/progress.h"
#include "core/quant/quantize_site.h"
#include "core/text/corpus.h"

namespace quantd {

struct QuantizedSite {
  const SitePlan* plan;
  SiteResult result;
};

// Receives every block once, in order, with its quantized sites in execution order (skipped ones left out).
using BlockSink = std::function<absl::Status(int block, std::vector<QuantizedSite> sites)>;

struct QuantizeOptions {
  absl::Span<const SitePlan> plans;             // one a site of the model, in its order
  absl::Span<const TokenSequence> calibration;  // of one length; empty when no plan needs data
  std::string scratch_directory;                // for activations above the memory budget
};

absl::Status QuantizeModel(const ExecutionContext& context, const Transformer& model, const QuantizeOptions& options,
                           Progress& progress, const BlockSink& sink);

// Multiply-adds of the above, for plans and progress.
double QuantizeWork(const Transformer& model, absl::Span<const SitePlan> plans, int64_t calibration_tokens);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_QUANTIZE_MODEL_H_
