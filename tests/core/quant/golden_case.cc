#include "tests/core/quant/golden_case.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/base/file_system.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

template <typename T>
void Widen(absl::Span<const char> bytes, absl::Span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
}

}  // namespace

std::vector<Json> GoldenEntries(const std::string& folder, const std::string& method) {
  absl::StatusOr<Json> index = ReadJsonFile(JoinPath(folder, "index.json"));
  EXPECT_OK(index);
  std::vector<Json> entries;
  if (!index.ok()) return entries;
  for (const Json& entry : (*index)["entries"]) {
    if (entry["method"] == method) entries.push_back(entry);
  }
  return entries;
}

// A missing file or tensor is a broken golden folder: .value() ends the test.
const SafetensorsFile& GoldenFiles::Open(const std::string& file) {
  auto found = files_.find(file);
  if (found == files_.end()) {
    found = files_.emplace(file, SafetensorsFile::Open(JoinPath(folder_, file)).value()).first;
  }
  return found->second;
}

bool GoldenFiles::Has(const std::string& file, const std::string& tensor) {
  return Open(file).Find(tensor) != nullptr;
}

std::vector<int64_t> GoldenFiles::Shape(const std::string& file, const std::string& tensor) {
  return Open(file).Find(tensor)->shape;
}

std::vector<double> GoldenFiles::ReadF64(const std::string& file, const std::string& tensor) {
  const SafetensorsFile& opened = Open(file);
  const TensorEntry* entry = opened.Find(tensor);
  EXPECT_TRUE(entry != nullptr && entry->dtype == Dtype::kF64) << file << " " << tensor;
  if (entry == nullptr || entry->dtype != Dtype::kF64) return {};
  std::vector<double> values(entry->elements());
  std::memcpy(values.data(), opened.Bytes(*entry).data(), values.size() * sizeof(double));
  return values;
}

Matrix GoldenFiles::Read(const std::string& file, const std::string& tensor) {
  const SafetensorsFile& opened = Open(file);
  const TensorEntry* entry = opened.Find(tensor);
  EXPECT_NE(entry, nullptr) << file << " " << tensor;
  if (entry == nullptr) return Matrix();
  const int64_t cols = entry->shape.empty() ? 1 : entry->shape.back();
  Matrix matrix(entry->elements() / cols, cols);
  const absl::Span<const char> bytes = opened.Bytes(*entry);
  if (entry->dtype == Dtype::kU8) {
    Widen<uint8_t>(bytes, matrix.span());
  } else if (entry->dtype == Dtype::kI32) {
    Widen<int32_t>(bytes, matrix.span());
  } else {
    WidenToF32(entry->dtype, bytes.data(), matrix.span());
  }
  return matrix;
}

}  // namespace quantd
