// A Hugging Face checkpoint folder: one model.safetensors, or shards with an index. Memory-mapped; opening reads
// headers only.
#ifndef QUANTD_CORE_FORMATS_CHECKPOINT_H_
#define QUANTD_CORE_FORMATS_CHECKPOINT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/formats/weight_source.h"

namespace quantd {

// Reasons beside those of safetensors.h: MODEL_FOLDER_INVALID (no weights, pickle only), INDEX_INVALID, SHARD_MISSING,
// SHARD_TENSOR_MISMATCH. An index wins over a single file when both are there.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenCheckpoint(const std::string& folder);

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_CHECKPOINT_H_
