#include "tests/core/formats/safetensors_files.h"

#include <cstring>
#include <fstream>

#include "tests/testing/status_matchers.h"

namespace quantd {

std::string FileBytes(absl::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes.append(header.data(), header.size());
  bytes.append(data_bytes, '\0');
  return bytes;
}

void WriteBytes(const std::string& path, absl::string_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(out.good()) << path;
}

TestTensor FloatTensor(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
  TestTensor tensor{{name, Dtype::kF32, shape}, std::string(4 * values.size(), '\0')};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

void WriteSafetensors(const std::string& path, const std::vector<TestTensor>& tensors) {
  std::vector<TensorSpec> specs;
  for (const TestTensor& tensor : tensors) specs.push_back(tensor.spec);
  ASSERT_OK_AND_ASSIGN(const auto writer, SafetensorsWriter::Create(RealFileSystem(), path, specs, {{"format", "pt"}}));
  for (const TestTensor& tensor : tensors) ASSERT_OK(writer->Append(tensor.bytes));
  ASSERT_OK(writer->Finish());
}

}  // namespace quantd
