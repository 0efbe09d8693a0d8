// The tensors a model of a given configuration consists of: names and shapes. Validation and loading read the same
// list.
#ifndef QUANTD_CORE_MODEL_TENSOR_NAMES_H_
#define QUANTD_CORE_MODEL_TENSOR_NAMES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/formats/weight_source.h"
#include "core/model/architecture.h"
#include "core/model/linear_site.h"
#include "core/model/model_config.h"

namespace quantd {

int64_t DimSize(const ModelConfig& config, Dim dim);
bool HasBias(const ModelConfig& config, BiasRule rule);

// "model.layers.3." etc., with the family's prefix unless the files leave it out.
std::string ModulePrefix(const ModelConfig& config);
std::string BlockPrefix(const ModelConfig& config, int block);

// Length of a block's norm: the hidden size, or the head size for norms of q and k.
int64_t NormSize(const ModelConfig& config, NormRole role);

// Every tensor of a model of this configuration; ignored ones left out.
using TensorShapeMap = std::map<std::string, std::vector<int64_t>>;
TensorShapeMap TensorShapes(const ModelConfig& config);

// Every linear of every block in execution order.
std::vector<LinearSite> ListSites(const ModelConfig& config);

// Decides whether the optional prefix is used, then compares names, shapes and element types with the configuration:
// TENSOR_MISSING, TENSOR_UNEXPECTED, TENSOR_WRONG_SHAPE (each with the list), TENSOR_WRONG_DTYPE, TIED_HEAD_DIFFERS.
absl::Status CheckTensors(const WeightSource& weights, ModelConfig& config);

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_TENSOR_NAMES_H_
