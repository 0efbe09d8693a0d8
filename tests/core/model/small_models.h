// One small random model of every family and of the variants that run other code, made in memory.
#ifndef QUANTD_TESTS_CORE_MODEL_SMALL_MODELS_H_
#define QUANTD_TESTS_CORE_MODEL_SMALL_MODELS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/types/span.h"
#include "core/model/transformer.h"
#include "core/text/corpus.h"

namespace quantd {

struct SmallModel {
  const char* name;
  const char* config_json;
};

// 2 blocks, vocabulary of 50.
absl::Span<const SmallModel> SmallModels();

// Weights from a fixed sequence, of such sizes that every part of the model is felt in the logits.
std::unique_ptr<Transformer> OpenSmallModel(const SmallModel& model);
inline std::string SmallModelName(const SmallModel& model) {
  return model.name;
}

// Token ids of a fixed sequence.
TokenSequence RandomTokens(const Transformer& model, int64_t length, uint64_t seed);

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_MODEL_SMALL_MODELS_H_
