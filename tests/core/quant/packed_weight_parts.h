// The stored parts of a packed weight, valid at first, for tests that break them one at a time.
#ifndef QUANTD_TESTS_CORE_QUANT_PACKED_WEIGHT_PARTS_H_
#define QUANTD_TESTS_CORE_QUANT_PACKED_WEIGHT_PARTS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/quant/quantized_weight.h"
#include "tests/testing/status_matchers.h"

namespace quantd {

// The name that refusals must carry.
inline constexpr char kWhat[] = "models/a: site 'model.layers.0.mlp.up_proj'";

struct PackedWeightParts {
  explicit PackedWeightParts(const QuantizedWeight& weight)
      : kind(weight.kind()),
        description(weight.Description()),
        tensors(weight.ToTensors()),
        rows(weight.rows()),
        cols(weight.cols()) {}

  StoredTensor& Tensor(const std::string& suffix) {
    return *std::find_if(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.suffix == suffix; });
  }
  void Remove(const std::string& suffix) { tensors.erase(tensors.begin() + (&Tensor(suffix) - tensors.data())); }
  void Set(const char* key, const Json& value) { description[key] = value; }
  // Element `index` of a tensor whose elements are of this type.
  template <typename Element>
  void Put(const char* suffix, int64_t index, Element value) {
    std::memcpy(&Tensor(suffix).bytes[sizeof(Element) * static_cast<size_t>(index)], &value, sizeof(Element));
  }
  absl::StatusOr<std::unique_ptr<QuantizedWeight>> Read() const {
    return QuantizedWeightFromTensors(kind, description, tensors, rows, cols, kWhat);
  }

  std::string kind;
  Json description;
  std::vector<StoredTensor> tensors;
  int64_t rows = 0;
  int64_t cols = 0;
};

// A way to break them, and what the refusal must mention.
struct BrokenPart {
  const char* name;
  void (*damage)(PackedWeightParts& parts);
  const char* mentions;
};

inline void ExpectRefusedByItsField(PackedWeightParts parts, const BrokenPart& broken) {
  EXPECT_OK(parts.Read());
  broken.damage(parts);
  const auto weight = parts.Read();
  EXPECT_THAT(weight, FailsWith("ARTIFACT_MALFORMED", broken.mentions));
  EXPECT_THAT(weight, FailsWith("ARTIFACT_MALFORMED", kWhat));
}

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_QUANT_PACKED_WEIGHT_PARTS_H_
