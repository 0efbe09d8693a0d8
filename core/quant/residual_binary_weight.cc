#include "core/quant/residual_binary_weight.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/quant/bit_stream.h"
#include "core/quant/unsigned_integers.h"

namespace quantd {
namespace {

std::string BytesOf(const std::vector<uint8_t>& values) {
  return std::string(values.begin(), values.end());
}

bool IsMean(int64_t level) {
  return level == kLowMean || level == kHighMean || level == kSalientMean;
}

// Of one row's levels in one block. Two roundings in f32 at most, in this order.
float ValueOf(const float* levels, bool salient, bool sign, bool second_bit) {
  if (salient) {
    const float scale = sign ? levels[kSalientScale] : -levels[kSalientScale];
    const float second_scale = second_bit ? levels[kSalientSecondScale] : -levels[kSalientSecondScale];
    return (levels[kSalientMean] + scale) + second_scale;
  }
  const float mean = second_bit ? levels[kHighMean] : levels[kLowMean];
  const float scale = second_bit ? levels[kHighScale] : levels[kLowScale];
  return mean + (sign ? scale : -scale);
}

}  // namespace

Dtype ResidualBinaryLayout::block_index_dtype() const {
  return blocks() <= 256 ? Dtype::kU8 : blocks() <= 65536 ? Dtype::kU16 : Dtype::kU32;
}

uint64_t ResidualBinaryLayout::StoredBits() const {
  const uint64_t plane = 8 * PackedBytes(cols, 1);
  return 2 * rows * plane + plane + 8 * rows * blocks() * stored_levels() * DtypeBytes(scale_dtype) +
         (has_block_index ? 8 * cols * DtypeBytes(block_index_dtype()) : 0);
}

ResidualBinaryWeight::ResidualBinaryWeight(ResidualBinaryLayout layout, ResidualBinaryTensors tensors)
    : layout_(layout), tensors_(std::move(tensors)), salient_(layout.cols) {
  UnpackBits(tensors_.salient.data(), layout_.cols, 1, salient_.data());
}

void ResidualBinaryWeight::DecodeRows(int64_t first_row, MutableMatrixView out) const {
  std::vector<uint8_t> signs(layout_.cols), second_bits(layout_.cols);
  const int64_t row_bytes = PackedBytes(layout_.cols, 1);
  for (int64_t r = 0; r < out.rows; ++r) {
    const int64_t row = first_row + r;
    UnpackBits(tensors_.signs.data() + row * row_bytes, layout_.cols, 1, signs.data());
    UnpackBits(tensors_.second_bits.data() + row * row_bytes, layout_.cols, 1, second_bits.data());
    const float* levels = tensors_.levels.data() + row * layout_.blocks() * kBinaryLevels;
    float* values = out.row(r);
    for (int64_t c = 0; c < layout_.cols; ++c) {
      const int64_t block = layout_.has_block_index ? tensors_.block_index[c] : c / layout_.block_size;
      values[c] = ValueOf(levels + block * kBinaryLevels, salient_[c] != 0, signs[c] != 0, second_bits[c] != 0);
    }
  }
}

Json ResidualBinaryWeight::Description() const {
  return {{"block_size", layout_.block_size},
          {"means", layout_.means},
          {"scale_dtype", std::string(DtypeName(layout_.scale_dtype))},
          {"block_index", layout_.has_block_index}};
}

std::vector<StoredTensor> ResidualBinaryWeight::ToTensors() const {
  const int64_t row_bytes = PackedBytes(layout_.cols, 1);
  std::vector<float> stored;
  for (size_t i = 0; i < tensors_.levels.size(); ++i) {
    if (layout_.means || !IsMean(static_cast<int64_t>(i % kBinaryLevels))) stored.push_back(tensors_.levels[i]);
  }
  std::string levels(stored.size() * DtypeBytes(layout_.scale_dtype), '\0');
  NarrowFromF32(layout_.scale_dtype, stored, levels.data());
  std::vector<StoredTensor> tensors;
  tensors.push_back({"signs", Dtype::kU8, {layout_.rows, row_bytes}, BytesOf(tensors_.signs)});
  tensors.push_back({"second_bits", Dtype::kU8, {layout_.rows, row_bytes}, BytesOf(tensors_.second_bits)});
  tensors.push_back({"salient", Dtype::kU8, {1, row_bytes}, BytesOf(tensors_.salient)});
  tensors.push_back(
      {"levels", layout_.scale_dtype, {layout_.rows, layout_.blocks(), layout_.stored_levels()}, std::move(levels)});
  if (layout_.has_block_index) {
    const Dtype dtype = layout_.block_index_dtype();
    tensors.push_back({"block_index", dtype, {layout_.cols}, PackUnsigned(dtype, tensors_.block_index)});
  }
  return tensors;
}

double ResidualBinaryWeight::PlaneBitsPerWeight() const {
  const auto salient = std::count_if(salient_.begin(), salient_.end(), [](uint8_t flag) { return flag != 0; });
  return 1 + static_cast<double>(salient) / static_cast<double>(layout_.cols);
}

std::string ResidualBinaryWeight::Summary() const {
  std::string text = layout_.blocks() == 1 ? std::string("residual_binary, one block")
                                           : absl::StrCat("residual_binary, blocks of ", layout_.block_size);
  if (const int64_t short_block = layout_.cols % layout_.block_size; short_block != 0) {
    absl::StrAppend(&text, " and one of ", short_block);
  }
  if (!layout_.means) absl::StrAppend(&text, ", no means");
  if (layout_.has_block_index) absl::StrAppend(&text, ", act-order blocks");
  absl::StrAppendFormat(&text, ", %.3f bits of planes alone", PlaneBitsPerWeight());
  return text;
}

}  // namespace quantd
