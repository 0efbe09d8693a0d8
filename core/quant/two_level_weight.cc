#include "core/quant/two_level_weight.h"

#include <algorithm>
#include <limits>
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

StoredTensor FloatTensor(std::string suffix, Dtype dtype, std::vector<int64_t> shape, absl::Span<const float> values) {
  std::string bytes(values.size() * DtypeBytes(dtype), '\0');
  NarrowFromF32(dtype, values, bytes.data());
  return {std::move(suffix), dtype, std::move(shape), std::move(bytes)};
}

StoredTensor IntegerTensor(std::string suffix, Dtype dtype, absl::Span<const int32_t> values) {
  return {std::move(suffix), dtype, {static_cast<int64_t>(values.size())}, PackUnsigned(dtype, values)};
}

const char* StorageName(TwoLevelStorage storage) {
  static constexpr const char* kNames[] = {"none", "plain", "whole", "tiled"};
  return kNames[static_cast<int>(storage)];
}

// Bits of the scales, or zeros; `code_bits` of tiled or whole ones.
uint64_t BitsOfTiled(const TwoLevelLayout& layout, TwoLevelStorage storage, int code_bits) {
  const uint64_t dtype_bits = 8 * DtypeBytes(layout.scale_dtype);
  const uint64_t rows = layout.rows, groups = layout.groups(), tiles = layout.tiles();
  const uint64_t packed = 8 * rows * PackedBytes(layout.groups(), code_bits);
  switch (storage) {
    case TwoLevelStorage::kNone:
      return 0;
    case TwoLevelStorage::kPlain:
      return rows * groups * dtype_bits;
    case TwoLevelStorage::kWhole:
      return packed;
    case TwoLevelStorage::kTiled:
      return packed + 2 * tiles * groups * dtype_bits;
  }
  return 0;
}

void AppendTiled(const TwoLevelLayout& layout, TwoLevelStorage storage, const TiledTensors& tiled, const char* name,
                 std::vector<StoredTensor>& tensors) {
  const int64_t row_bytes = static_cast<int64_t>(tiled.codes.size()) / layout.rows;
  const std::string plural = absl::StrCat(name, "s");
  if (storage == TwoLevelStorage::kPlain) {
    tensors.push_back(FloatTensor(plural, layout.scale_dtype, {layout.rows, layout.groups()}, tiled.values));
  } else if (storage == TwoLevelStorage::kWhole) {
    tensors.push_back({plural, Dtype::kU8, {layout.rows, row_bytes}, BytesOf(tiled.codes)});
  } else if (storage == TwoLevelStorage::kTiled) {
    std::vector<float> levels;
    for (const SecondLevel& level : tiled.levels) levels.insert(levels.end(), {level.step, level.offset});
    const std::vector<int64_t> shape = {layout.tiles(), layout.groups(), 2};
    tensors.push_back({absl::StrCat(name, "_codes"), Dtype::kU8, {layout.rows, row_bytes}, BytesOf(tiled.codes)});
    tensors.push_back(FloatTensor(absl::StrCat(name, "_levels"), layout.scale_dtype, shape, levels));
  }
}

// Scales, or zeros that are stored, of one row.
void UnpackRow(const TwoLevelLayout& layout, TwoLevelStorage storage, int code_bits, const TiledTensors& tiled,
               int64_t row, absl::Span<float> out) {
  const int64_t groups = layout.groups();
  if (storage == TwoLevelStorage::kPlain) {
    std::copy_n(tiled.values.begin() + row * groups, groups, out.begin());
    return;
  }
  std::vector<uint8_t> codes(groups);
  UnpackBits(tiled.codes.data() + row * PackedBytes(groups, code_bits), groups, code_bits, codes.data());
  if (storage == TwoLevelStorage::kWhole) {
    std::copy(codes.begin(), codes.end(), out.begin());
    return;
  }
  const SecondLevel* levels = &tiled.levels[row / layout.tile_rows * groups];
  for (int64_t g = 0; g < groups; ++g) out[g] = levels[g].Value(codes[g]);
}

}  // namespace

Dtype TwoLevelLayout::group_index_dtype() const {
  return groups() <= 256 ? Dtype::kU8 : groups() <= 65536 ? Dtype::kU16 : Dtype::kU32;
}

Dtype TwoLevelLayout::column_dtype() const {
  return cols <= std::numeric_limits<uint16_t>::max() ? Dtype::kU16 : Dtype::kU32;
}

uint64_t TwoLevelLayout::BitsWithoutOutliers() const {
  const int zero_code_bits = zeros == TwoLevelStorage::kWhole ? bits : zero_bits;
  return 8 * static_cast<uint64_t>(rows) * PackedBytes(cols, bits) + BitsOfTiled(*this, scales, scale_bits) +
         BitsOfTiled(*this, zeros, zero_code_bits) +
         (has_group_index ? 8 * static_cast<uint64_t>(cols) * DtypeBytes(group_index_dtype()) : 0) +
         (outliers > 0 ? 8 * static_cast<uint64_t>(rows) * DtypeBytes(column_dtype()) : 0);
}

TwoLevelWeight::TwoLevelWeight(TwoLevelLayout layout, TwoLevelTensors tensors)
    : layout_(layout), tensors_(std::move(tensors)) {
  if (tensors_.outlier_counts.empty()) return;
  outlier_begins_.push_back(0);
  for (int32_t count : tensors_.outlier_counts) outlier_begins_.push_back(outlier_begins_.back() + count);
}

void TwoLevelWeight::CodesOfRow(int64_t row, absl::Span<uint8_t> out) const {
  UnpackBits(tensors_.codes.data() + row * PackedBytes(layout_.cols, layout_.bits), layout_.cols, layout_.bits,
             out.data());
}

void TwoLevelWeight::ScalesOfRow(int64_t row, absl::Span<float> out) const {
  UnpackRow(layout_, layout_.scales, layout_.scale_bits, tensors_.scales, row, out);
}

void TwoLevelWeight::ZerosOfRow(int64_t row, absl::Span<float> out) const {
  if (layout_.zeros == TwoLevelStorage::kNone) {
    std::fill(out.begin(), out.end(), static_cast<float>(1 << (layout_.bits - 1)));
    return;
  }
  const int code_bits = layout_.zeros == TwoLevelStorage::kWhole ? layout_.bits : layout_.zero_bits;
  UnpackRow(layout_, layout_.zeros, code_bits, tensors_.zeros, row, out);
}

std::vector<int32_t> TwoLevelWeight::OutlierColumnsOfRow(int64_t row) const {
  if (outlier_begins_.empty()) return {};
  const auto begin = tensors_.outlier_columns.begin();
  return std::vector<int32_t>(begin + outlier_begins_[row], begin + outlier_begins_[row + 1]);
}

void TwoLevelWeight::DecodeRows(int64_t first_row, MutableMatrixView out) const {
  std::vector<uint8_t> codes(layout_.cols);
  std::vector<float> scales(layout_.groups()), zeros(layout_.groups());
  for (int64_t r = 0; r < out.rows; ++r) {
    const int64_t row = first_row + r;
    CodesOfRow(row, absl::MakeSpan(codes));
    ScalesOfRow(row, absl::MakeSpan(scales));
    ZerosOfRow(row, absl::MakeSpan(zeros));
    float* values = out.row(r);
    for (int64_t c = 0; c < layout_.cols; ++c) {
      const int64_t group = GroupOfColumn(c);
      values[c] = scales[group] * (static_cast<float>(codes[c]) - zeros[group]);
    }
    // Outliers replace what their codes say.
    for (int64_t i = outlier_begins_.empty() ? 0 : outlier_begins_[row];
         !outlier_begins_.empty() && i < outlier_begins_[row + 1]; ++i) {
      values[tensors_.outlier_columns[i]] = tensors_.outlier_values[i];
    }
  }
}

Json TwoLevelWeight::Description() const {
  return {{"bits", layout_.bits},
          {"group_size", layout_.group_size},
          {"tile_rows", layout_.tile_rows},
          {"scales", StorageName(layout_.scales)},
          {"scale_bits", layout_.scale_bits},
          {"zeros", StorageName(layout_.zeros)},
          {"zero_bits", layout_.zero_bits},
          {"scale_dtype", std::string(DtypeName(layout_.scale_dtype))},
          {"outlier_dtype", std::string(DtypeName(layout_.outlier_dtype))},
          {"outliers", layout_.outliers},
          {"group_index", layout_.has_group_index}};
}

std::vector<StoredTensor> TwoLevelWeight::ToTensors() const {
  std::vector<StoredTensor> tensors;
  tensors.push_back(
      {"codes", Dtype::kU8, {layout_.rows, PackedBytes(layout_.cols, layout_.bits)}, BytesOf(tensors_.codes)});
  AppendTiled(layout_, layout_.scales, tensors_.scales, "scale", tensors);
  AppendTiled(layout_, layout_.zeros, tensors_.zeros, "zero", tensors);
  if (layout_.has_group_index) {
    tensors.push_back(IntegerTensor("group_index", layout_.group_index_dtype(), tensors_.group_index));
  }
  if (layout_.outliers > 0) {
    tensors.push_back(IntegerTensor("outlier_counts", layout_.column_dtype(), tensors_.outlier_counts));
    tensors.push_back(IntegerTensor("outlier_columns", layout_.column_dtype(), tensors_.outlier_columns));
    tensors.push_back(
        FloatTensor("outlier_values", layout_.outlier_dtype, {layout_.outliers}, tensors_.outlier_values));
  }
  return tensors;
}

std::string TwoLevelWeight::Summary() const {
  const bool whole_row = layout_.group_size == layout_.cols;
  std::string text = absl::StrCat("two_level ", layout_.bits, " bit ",
                                  whole_row ? std::string("row") : absl::StrCat("g", layout_.group_size));
  if (layout_.scales == TwoLevelStorage::kTiled) absl::StrAppend(&text, ", scales ", layout_.scale_bits, " bit");
  if (layout_.zeros == TwoLevelStorage::kTiled) absl::StrAppend(&text, ", zeros ", layout_.zero_bits, " bit");
  if (layout_.zeros == TwoLevelStorage::kNone) absl::StrAppend(&text, " sym");
  const bool tiled = layout_.scales == TwoLevelStorage::kTiled || layout_.zeros == TwoLevelStorage::kTiled;
  if (const int64_t short_tile = layout_.rows % layout_.tile_rows; tiled && short_tile != 0) {
    absl::StrAppend(&text, ", last tile of ", short_tile, " rows");
  }
  const double weights = static_cast<double>(layout_.rows) * static_cast<double>(layout_.cols);
  absl::StrAppendFormat(&text, ", %.2f %% outliers", 100.0 * static_cast<double>(layout_.outliers) / weights);
  if (layout_.has_group_index) absl::StrAppend(&text, ", act-order groups");
  return text;
}

}  // namespace quantd
