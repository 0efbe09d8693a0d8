// Small safetensors files, good and bad, for tests.
#ifndef QUANTD_TESTS_CORE_FORMATS_SAFETENSORS_FILES_H_
#define QUANTD_TESTS_CORE_FORMATS_SAFETENSORS_FILES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/formats/safetensors.h"

namespace quantd {

// Correct length, then `header` as it is, then `data_bytes` zeros.
std::string FileBytes(absl::string_view header, size_t data_bytes);

void WriteBytes(const std::string& path, absl::string_view bytes);

struct TestTensor {
  TensorSpec spec;
  std::string bytes;
};
TestTensor FloatTensor(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values);

// Through SafetensorsWriter.
void WriteSafetensors(const std::string& path, const std::vector<TestTensor>& tensors);

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_FORMATS_SAFETENSORS_FILES_H_
