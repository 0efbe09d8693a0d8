// A valid small checkpoint with edits, written to a folder of its own.
#ifndef QUANTD_TESTS_CORE_MODEL_CHECKPOINT_EDITS_H_
#define QUANTD_TESTS_CORE_MODEL_CHECKPOINT_EDITS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/tensor/dtype.h"

namespace quantd {

struct EditedTensor {
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  std::string bytes;  // little-endian, C order
};

class CheckpointEdits {
 public:
  // Tensors and configuration of tests/data/arch/`family`.
  explicit CheckpointEdits(const std::string& family);

  EditedTensor& Tensor(const std::string& name) { return tensors_.at(name); }
  void Remove(const std::string& name) { tensors_.erase(name); }
  void Add(const std::string& name, EditedTensor tensor) { tensors_[name] = std::move(tensor); }
  void AddZeros(const std::string& name, Dtype dtype, const std::vector<int64_t>& shape);
  // Same shape, zeros of another element type.
  void Retype(const std::string& name, Dtype dtype);
  // One value, at the flat `index`; narrowed to the tensor's type.
  void Put(const std::string& name, int64_t index, double value);
  Json& config();

  // The folder, with config.json and model.safetensors.
  std::string Write() const;

  CheckpointEdits(const CheckpointEdits&) = delete;
  CheckpointEdits& operator=(const CheckpointEdits&) = delete;
  ~CheckpointEdits();

 private:
  std::map<std::string, EditedTensor> tensors_;
  std::unique_ptr<Json> config_;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_MODEL_CHECKPOINT_EDITS_H_
