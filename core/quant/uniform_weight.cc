#include "core/quant/uniform_weight.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/quant/bit_stream.h"

namespace quantd {
namespace {

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace

int64_t UniformLayout::code_row_bytes() const {
  return PackedBytes(cols, bits);
}
int64_t UniformLayout::zero_row_bytes() const {
  return symmetric ? 0 : PackedBytes(groups(), bits);
}

void UniformWeight::CodesOfRow(int64_t row, absl::Span<uint8_t> out) const {
  UnpackBits(tensors_.codes.data() + row * layout_.code_row_bytes(), layout_.cols, layout_.bits, out.data());
}

void UniformWeight::ScalesOfRow(int64_t row, absl::Span<float> out) const {
  const int64_t scale_row = layout_.per_row ? row : 0;
  const int64_t row_bytes = layout_.groups() * DtypeBytes(layout_.scale_dtype);
  WidenToF32(layout_.scale_dtype, tensors_.scales.data() + scale_row * row_bytes, out);
}

void UniformWeight::ZerosOfRow(int64_t row, absl::Span<uint8_t> out) const {
  if (layout_.symmetric) {
    std::fill(out.begin(), out.end(), static_cast<uint8_t>(1 << (layout_.bits - 1)));
    return;
  }
  const int64_t scale_row = layout_.per_row ? row : 0;
  UnpackBits(tensors_.zeros.data() + scale_row * layout_.zero_row_bytes(), layout_.groups(), layout_.bits, out.data());
}

int64_t UniformWeight::GroupOfColumn(int64_t col) const {
  return layout_.has_group_index ? tensors_.group_index[col] : col / layout_.group_size;
}

void UniformWeight::DecodeGroups(const RowParts& parts, float* out) const {
  for (int64_t first = 0, group = 0; first < layout_.cols; first += layout_.group_size, ++group) {
    const int64_t end = std::min(first + layout_.group_size, layout_.cols);
    const float scale = parts.scales[group];
    const int zero = parts.zeros[group];
    for (int64_t c = first; c < end; ++c) out[c] = scale * static_cast<float>(parts.codes[c] - zero);
  }
}

void UniformWeight::DecodeByIndex(const RowParts& parts, float* out) const {
  for (int64_t c = 0; c < layout_.cols; ++c) {
    const int32_t group = tensors_.group_index[c];
    out[c] = parts.scales[group] * static_cast<float>(parts.codes[c] - parts.zeros[group]);
  }
}

void UniformWeight::DecodeRows(int64_t first_row, MutableMatrixView out) const {
  RowParts parts = {std::vector<uint8_t>(layout_.cols), std::vector<float>(layout_.groups()),
                    std::vector<uint8_t>(layout_.groups())};
  for (int64_t r = 0; r < out.rows; ++r) {
    CodesOfRow(first_row + r, absl::MakeSpan(parts.codes));
    ScalesOfRow(first_row + r, absl::MakeSpan(parts.scales));
    ZerosOfRow(first_row + r, absl::MakeSpan(parts.zeros));
    layout_.has_group_index ? DecodeByIndex(parts, out.row(r)) : DecodeGroups(parts, out.row(r));
  }
}

Json UniformWeight::Description() const {
  return {{"bits", layout_.bits},
          {"group_size", layout_.group_size},
          {"symmetric", layout_.symmetric},
          {"per_row", layout_.per_row},
          {"scale_dtype", std::string(DtypeName(layout_.scale_dtype))},
          {"group_index", layout_.has_group_index}};
}

std::vector<StoredTensor> UniformWeight::ToTensors() const {
  std::vector<StoredTensor> tensors;
  tensors.push_back({"codes", Dtype::kU8, {layout_.rows, layout_.code_row_bytes()}, BytesOf(tensors_.codes)});
  tensors.push_back({"scales", layout_.scale_dtype, {layout_.scale_rows(), layout_.groups()}, tensors_.scales});
  if (!layout_.symmetric) {
    tensors.push_back({"zeros", Dtype::kU8, {layout_.scale_rows(), layout_.zero_row_bytes()}, BytesOf(tensors_.zeros)});
  }
  if (layout_.has_group_index) {
    tensors.push_back({"group_index", Dtype::kI32, {layout_.cols}, BytesOf(tensors_.group_index)});
  }
  return tensors;
}

std::string UniformWeight::Summary() const {
  const bool whole_row = layout_.group_size == layout_.cols;
  return absl::StrCat("uniform ", layout_.bits, " bit ",
                      whole_row ? std::string("row") : absl::StrCat("g", layout_.group_size),
                      layout_.symmetric ? " sym" : " asym", layout_.per_row ? "" : " shared scales",
                      layout_.has_group_index ? " act-order groups" : "");
}

}  // namespace quantd
