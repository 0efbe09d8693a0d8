// Reference results of quantization algorithms, read from a folder with an index.json (its README says what the entries
// mean).
#ifndef QUANTD_TESTS_CORE_QUANT_GOLDEN_CASE_H_
#define QUANTD_TESTS_CORE_QUANT_GOLDEN_CASE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/formats/safetensors.h"
#include "core/tensor/matrix.h"

namespace quantd {

// The entries of one method. Fails the running test when the index is unreadable.
std::vector<Json> GoldenEntries(const std::string& folder, const std::string& method);

// Opens each file of the folder once.
class GoldenFiles {
 public:
  explicit GoldenFiles(std::string folder) : folder_(std::move(folder)) {}
  bool Has(const std::string& file, const std::string& tensor);
  // Float tensors as f32, U8 and I32 as they count; the last dimension becomes the columns, all others the rows.
  Matrix Read(const std::string& file, const std::string& tensor);
  // The same of an F64 tensor, flat and unrounded.
  std::vector<double> ReadF64(const std::string& file, const std::string& tensor);
  std::vector<int64_t> Shape(const std::string& file, const std::string& tensor);

 private:
  const SafetensorsFile& Open(const std::string& file);

  const std::string folder_;
  std::map<std::string, SafetensorsFile> files_;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_QUANT_GOLDEN_CASE_H_
