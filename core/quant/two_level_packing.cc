#include "core/quant/two_level_packing.h"

#include <algorithm>
#include <cmath>

#include "core/quant/bit_stream.h"

namespace quantd {
namespace {

// Of one slab, row by row.
struct SlabOutliers {
  std::vector<int32_t> counts;
  std::vector<int32_t> columns;
  std::vector<float> values;
};

SlabOutliers PackCodes(const CodedColumns& coded, const TwoLevelLayout& layout, int64_t slab, uint8_t* packed) {
  SlabOutliers outliers;
  std::vector<uint8_t> row(layout.cols);
  const int64_t row_bytes = PackedBytes(layout.cols, layout.bits);
  for (int64_t r = 0; r < coded.codes.rows_in(slab); ++r) {
    const size_t before = outliers.columns.size();
    for (int64_t c = 0; c < layout.cols; ++c) {
      const Code code = coded.codes.column(slab, c)[r];
      row[c] = static_cast<uint8_t>(code);
      if ((code & kTwoLevelOutlier) == 0) continue;
      outliers.columns.push_back(static_cast<int32_t>(c));
      outliers.values.push_back(coded.values.column(slab, c)[r]);
    }
    outliers.counts.push_back(static_cast<int32_t>(outliers.columns.size() - before));
    PackBits(row.data(), layout.cols, layout.bits, packed + (coded.codes.first_row(slab) + r) * row_bytes);
  }
  return outliers;
}

void PackCodesAndOutliers(const ExecutionContext& context, const CodedColumns& coded, TwoLevelLayout& layout,
                          TwoLevelTensors& tensors) {
  tensors.codes.resize(layout.rows * PackedBytes(layout.cols, layout.bits));
  std::vector<SlabOutliers> slabs(coded.codes.slabs());
  context.pool().ParallelFor(coded.codes.slabs(),
                             [&](int64_t slab) { slabs[slab] = PackCodes(coded, layout, slab, tensors.codes.data()); });
  for (const SlabOutliers& slab : slabs) {
    tensors.outlier_counts.insert(tensors.outlier_counts.end(), slab.counts.begin(), slab.counts.end());
    tensors.outlier_columns.insert(tensors.outlier_columns.end(), slab.columns.begin(), slab.columns.end());
    tensors.outlier_values.insert(tensors.outlier_values.end(), slab.values.begin(), slab.values.end());
  }
  layout.outliers = static_cast<int64_t>(tensors.outlier_columns.size());
  if (layout.outliers == 0) tensors.outlier_counts.clear();
}

using Scales = absl::Span<const TwoLevelScales* const>;  // by group
using Part = TiledValues TwoLevelScales::*;

void PackRowCodes(const TwoLevelLayout& layout, int code_bits, int64_t row, const std::vector<uint8_t>& codes,
                  TiledTensors& tensors) {
  const int64_t row_bytes = PackedBytes(layout.groups(), code_bits);
  PackBits(codes.data(), layout.groups(), code_bits, tensors.codes.data() + row * row_bytes);
}

void PackLevels(Scales scales, Part part, const TwoLevelLayout& layout, int code_bits, TiledTensors& tensors) {
  tensors.codes.resize(layout.rows * PackedBytes(layout.groups(), code_bits));
  std::vector<uint8_t> codes(layout.groups());
  for (int64_t row = 0; row < layout.rows; ++row) {
    for (int64_t g = 0; g < layout.groups(); ++g) codes[g] = (scales[g]->*part).codes[row];
    PackRowCodes(layout, code_bits, row, codes, tensors);
  }
  for (int64_t tile = 0; tile < layout.tiles(); ++tile) {
    for (int64_t g = 0; g < layout.groups(); ++g) tensors.levels.push_back((scales[g]->*part).levels[tile]);
  }
}

void PackPlain(Scales scales, Part part, const TwoLevelLayout& layout, TiledTensors& tensors) {
  for (int64_t row = 0; row < layout.rows; ++row) {
    for (int64_t g = 0; g < layout.groups(); ++g) tensors.values.push_back((scales[g]->*part).values[row]);
  }
}

// False, and nothing packed, when one of the plain `values` does not fit a code.
bool PackWhole(const TwoLevelLayout& layout, TiledTensors& tensors) {
  const float max_code = static_cast<float>((1 << layout.bits) - 1);
  const auto fits = [&](float value) { return value >= 0 && value <= max_code && value == std::nearbyint(value); };
  if (!std::all_of(tensors.values.begin(), tensors.values.end(), fits)) return false;
  tensors.codes.resize(layout.rows * PackedBytes(layout.groups(), layout.bits));
  for (int64_t row = 0; row < layout.rows; ++row) {
    const auto begin = tensors.values.begin() + row * layout.groups();
    PackRowCodes(layout, layout.bits, row, std::vector<uint8_t>(begin, begin + layout.groups()), tensors);
  }
  tensors.values.clear();
  return true;
}

void PackScales(Scales scales, const TwoLevelLayout& layout, TiledTensors& tensors) {
  if (layout.scales == TwoLevelStorage::kTiled) {
    PackLevels(scales, &TwoLevelScales::scales, layout, layout.scale_bits, tensors);
  } else {
    PackPlain(scales, &TwoLevelScales::scales, layout, tensors);
  }
}

void PackZeros(Scales scales, TwoLevelLayout& layout, TiledTensors& tensors) {
  if (layout.zeros == TwoLevelStorage::kNone) return;
  if (layout.zeros == TwoLevelStorage::kTiled) {
    return PackLevels(scales, &TwoLevelScales::zeros, layout, layout.zero_bits, tensors);
  }
  PackPlain(scales, &TwoLevelScales::zeros, layout, tensors);
  if (layout.zeros == TwoLevelStorage::kWhole && !PackWhole(layout, tensors)) layout.zeros = TwoLevelStorage::kPlain;
}

}  // namespace

std::unique_ptr<QuantizedWeight> PackTwoLevelWeight(const ExecutionContext& context, TwoLevelLayout layout,
                                                    const CodedColumns& coded, Scales scales) {
  TwoLevelTensors tensors;
  if (layout.has_group_index) tensors.group_index = coded.fit_of_column;
  PackCodesAndOutliers(context, coded, layout, tensors);
  PackScales(scales, layout, tensors.scales);
  PackZeros(scales, layout, tensors.zeros);
  return std::make_unique<TwoLevelWeight>(layout, std::move(tensors));
}

}  // namespace quantd
