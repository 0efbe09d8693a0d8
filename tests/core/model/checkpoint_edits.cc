#include "tests/core/model/checkpoint_edits.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/formats/safetensors.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {

CheckpointEdits::CheckpointEdits(const std::string& family) {
  const std::string folder = SourcePath("tests/data/arch/" + family);
  config_ = std::make_unique<Json>(ReadJsonFile(folder + "/config.json").value());
  const SafetensorsFile file = SafetensorsFile::Open(folder + "/model.safetensors").value();
  for (const TensorEntry& entry : file.tensors()) {
    const absl::Span<const char> bytes = file.Bytes(entry);
    tensors_[entry.name] = {entry.dtype, entry.shape, std::string(bytes.data(), bytes.size())};
  }
}

CheckpointEdits::~CheckpointEdits() = default;

Json& CheckpointEdits::config() {
  return *config_;
}

void CheckpointEdits::AddZeros(const std::string& name, Dtype dtype, const std::vector<int64_t>& shape) {
  tensors_[name] = {dtype, shape, std::string(TensorSpec{name, dtype, shape}.size_bytes(), '\0')};
}

void CheckpointEdits::Retype(const std::string& name, Dtype dtype) {
  AddZeros(name, dtype, std::vector<int64_t>(Tensor(name).shape));
}

void CheckpointEdits::Put(const std::string& name, int64_t index, double value) {
  EditedTensor& tensor = Tensor(name);
  char* place = tensor.bytes.data() + index * DtypeBytes(tensor.dtype);
  if (tensor.dtype == Dtype::kF64) {
    std::memcpy(place, &value, sizeof(value));
    return;
  }
  const float narrow = static_cast<float>(value);
  NarrowFromF32(tensor.dtype, absl::MakeConstSpan(&narrow, 1), place);
}

std::string CheckpointEdits::Write() const {
  const std::string folder = MakeTempDir();
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : tensors_) specs.push_back({name, tensor.dtype, tensor.shape});
  const auto writer = SafetensorsWriter::Create(RealFileSystem(), folder + "/model.safetensors", specs, {}).value();
  for (const auto& row : tensors_) EXPECT_OK(writer->Append(row.second.bytes));
  EXPECT_OK(writer->Finish());
  EXPECT_OK(WriteFileDurably(RealFileSystem(), folder + "/config.json", JsonText(*config_)));
  return folder;
}

}  // namespace quantd
