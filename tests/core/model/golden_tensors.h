// The reference values of one golden architecture, and the folders that have them.
#ifndef QUANTD_TESTS_CORE_MODEL_GOLDEN_TENSORS_H_
#define QUANTD_TESTS_CORE_MODEL_GOLDEN_TENSORS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/formats/safetensors.h"

namespace quantd {

// golden.safetensors: float64 tensors but for gradients (float32) and ids (int64).
class Golden {
 public:
  explicit Golden(SafetensorsFile file) : file_(std::move(file)) {}
  std::vector<double> Doubles(const std::string& name) const {
    const TensorEntry* entry = file_.Find(name);
    EXPECT_NE(entry, nullptr) << name;
    std::vector<double> values(entry->size_bytes() / 8);
    std::memcpy(values.data(), file_.Bytes(*entry).data(), entry->size_bytes());
    return values;
  }
  // A float32 one.
  std::vector<float> Floats(const std::string& name) const {
    const TensorEntry* entry = file_.Find(name);
    EXPECT_NE(entry, nullptr) << name;
    std::vector<float> values(entry->size_bytes() / sizeof(float));
    std::memcpy(values.data(), file_.Bytes(*entry).data(), entry->size_bytes());
    return values;
  }
  std::vector<int64_t> Shape(const std::string& name) const { return file_.Find(name)->shape; }
  std::vector<int32_t> Ids(int64_t sequence) const {
    const TensorEntry* entry = file_.Find("input_ids");
    const int64_t length = entry->shape[1];
    std::vector<int64_t> wide(static_cast<size_t>(entry->elements()));
    std::memcpy(wide.data(), file_.Bytes(*entry).data(), entry->size_bytes());
    return std::vector<int32_t>(wide.begin() + sequence * length, wide.begin() + (sequence + 1) * length);
  }
  std::vector<std::string> NamesWithPrefix(const std::string& prefix) const {
    std::vector<std::string> names;
    for (const TensorEntry& entry : file_.tensors()) {
      if (entry.name.rfind(prefix, 0) == 0) names.push_back(entry.name);
    }
    return names;
  }

 private:
  SafetensorsFile file_;
};

// Calls check(folder) for every folder of a supported architecture below `root`, each of the others being refused by
// name. Returns how many there were.
int ForEachGoldenModel(const std::string& root, const std::function<void(const std::string& folder)>& check);

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_MODEL_GOLDEN_TENSORS_H_
