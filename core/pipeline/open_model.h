// A model folder of either kind: an original checkpoint or a quantized artifact.
#ifndef QUANTD_CORE_PIPELINE_OPEN_MODEL_H_
#define QUANTD_CORE_PIPELINE_OPEN_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/model/transformer.h"
#include "core/quant/artifact_weights.h"
#include "core/text/tokenizer.h"

namespace quantd {

struct OpenedModel {
  std::string folder;
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Tokenizer> tokenizer;       // null when opened without
  const ArtifactWeights* artifact = nullptr;  // null for an original; owned by the model
};

// MODEL_NOT_FOUND; VOCABULARY_LARGER_THAN_EMBEDDING when the tokenizer can give ids the model has no row for; else the
// reasons of the readers. Weights are memory-mapped; nothing large is read.
absl::StatusOr<OpenedModel> OpenModelFolder(const std::string& folder, bool with_tokenizer,
                                            ArtifactHold hold = ArtifactHold::kPacked);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_OPEN_MODEL_H_
