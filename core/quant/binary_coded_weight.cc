#include "core/quant/binary_coded_weight.h"

#include <algorithm>
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

int64_t BinaryCodedLayout::plane_row_bytes() const {
  return PackedBytes(cols, 1);
}

void BinaryCodedWeight::PatternsOfRow(int64_t row, absl::Span<uint8_t> out) const {
  std::vector<uint8_t> bits(layout_.cols);
  std::fill(out.begin(), out.end(), uint8_t{0});
  for (int plane = 0; plane < layout_.planes; ++plane) {
    const int64_t packed = (row * layout_.planes + plane) * layout_.plane_row_bytes();
    UnpackBits(tensors_.planes.data() + packed, layout_.cols, 1, bits.data());
    for (int64_t c = 0; c < layout_.cols; ++c) out[c] = static_cast<uint8_t>(out[c] | bits[c] << plane);
  }
}

void BinaryCodedWeight::AlphasOfRow(int64_t row, absl::Span<float> out) const {
  const int64_t row_bytes = layout_.groups() * layout_.planes * DtypeBytes(layout_.scale_dtype);
  WidenToF32(layout_.scale_dtype, tensors_.alphas.data() + row * row_bytes, out);
}

void BinaryCodedWeight::OffsetsOfRow(int64_t row, absl::Span<float> out) const {
  if (!layout_.has_offsets) {
    std::fill(out.begin(), out.end(), 0.0f);
    return;
  }
  const int64_t row_bytes = layout_.groups() * DtypeBytes(layout_.scale_dtype);
  WidenToF32(layout_.scale_dtype, tensors_.offsets.data() + row * row_bytes, out);
}

void BinaryCodedWeight::DecodeRows(int64_t first_row, MutableMatrixView out) const {
  std::vector<uint8_t> patterns(layout_.cols);
  std::vector<float> alphas(layout_.groups() * layout_.planes);
  std::vector<float> offsets(layout_.groups());
  for (int64_t r = 0; r < out.rows; ++r) {
    PatternsOfRow(first_row + r, absl::MakeSpan(patterns));
    AlphasOfRow(first_row + r, absl::MakeSpan(alphas));
    OffsetsOfRow(first_row + r, absl::MakeSpan(offsets));
    float* row = out.row(r);
    for (int64_t c = 0; c < layout_.cols; ++c) {
      const int64_t group = GroupOfColumn(c);
      row[c] = BinaryCodedValue(&alphas[group * layout_.planes], layout_.planes, offsets[group], patterns[c]);
    }
  }
}

Json BinaryCodedWeight::Description() const {
  return {{"bits", layout_.planes},
          {"group_size", layout_.group_size},
          {"offsets", layout_.has_offsets},
          {"scale_dtype", std::string(DtypeName(layout_.scale_dtype))},
          {"group_index", layout_.has_group_index}};
}

std::vector<StoredTensor> BinaryCodedWeight::ToTensors() const {
  const int64_t groups = layout_.groups();
  std::vector<StoredTensor> tensors;
  tensors.push_back(
      {"planes", Dtype::kU8, {layout_.rows * layout_.planes, layout_.plane_row_bytes()}, BytesOf(tensors_.planes)});
  tensors.push_back({"alphas", layout_.scale_dtype, {layout_.rows, groups, layout_.planes}, tensors_.alphas});
  if (layout_.has_offsets) {
    tensors.push_back({"offsets", layout_.scale_dtype, {layout_.rows, groups}, tensors_.offsets});
  }
  if (layout_.has_group_index) {
    tensors.push_back({"group_index", Dtype::kI32, {layout_.cols}, BytesOf(tensors_.group_index)});
  }
  return tensors;
}

std::string BinaryCodedWeight::Summary() const {
  const bool whole_row = layout_.group_size == layout_.cols;
  return absl::StrCat(
      "binary codes ", layout_.planes, " bit ", whole_row ? std::string("row") : absl::StrCat("g", layout_.group_size),
      layout_.has_offsets ? "" : " without offsets", layout_.has_group_index ? " act-order groups" : "");
}

}  // namespace quantd
