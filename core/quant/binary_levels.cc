#include "core/quant/binary_levels.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_format.h"
#include "core/quant/binary_coded_weight.h"
#include "core/quant/bit_stream.h"
#include "core/quant/second_level.h"

namespace quantd {

BinaryLevels::BinaryLevels(int64_t rows, int planes_of_each)
    : padded_rows(RoundUp(rows, kSlabRows)),
      planes(planes_of_each),
      alphas(planes * padded_rows),
      offsets(padded_rows),
      values(levels() * padded_rows),
      borders((levels() - 1) * padded_rows),
      patterns(levels() * padded_rows) {}

void BinaryLevels::SetRow(int64_t row, absl::Span<const double> row_alphas, double offset, Dtype dtype) {
  float stored[kMaxPlanes];
  for (int i = 0; i < planes; ++i) {
    stored[i] = AsStored(static_cast<float>(row_alphas[i]), dtype);
    alphas[i * padded_rows + row] = stored[i];
  }
  offsets[row] = AsStored(static_cast<float>(offset), dtype) + 0.0f;  // no negative zero, which sums could keep
  float decoded[1 << kMaxPlanes];
  int order[1 << kMaxPlanes];
  for (int pattern = 0; pattern < levels(); ++pattern) {
    decoded[pattern] = BinaryCodedValue(stored, planes, offsets[row], pattern);
    order[pattern] = pattern;
  }
  std::sort(order, order + levels(),
            [&](int a, int b) { return decoded[a] != decoded[b] ? decoded[a] < decoded[b] : a < b; });
  for (int level = 0; level < levels(); ++level) {
    values[level * padded_rows + row] = decoded[order[level]];
    patterns[level * padded_rows + row] = static_cast<uint8_t>(order[level]);
    if (level == 0) continue;
    SetBorder(row, level - 1, (static_cast<double>(decoded[order[level - 1]]) + decoded[order[level]]) / 2);
  }
}

absl::Status CheckLevels(const BinaryLevels& levels, const FitColumns& columns, Dtype dtype) {
  for (int64_t row = 0; row < columns.weights.rows(); ++row) {
    const float least = levels.values[row];
    const float greatest = levels.values[(levels.levels() - 1) * levels.padded_rows + row];
    if (std::isfinite(least) && std::isfinite(greatest)) continue;
    return InvalidInput(
        "SCALE_OUT_OF_RANGE",
        absl::StrFormat("row %d, inputs %d..%d: the weights need scales beyond what %s holds; set scale_dtype=f32 or "
                        "skip this layer",
                        row, columns.first, columns.first + columns.count - 1, DtypeName(dtype)));
  }
  return absl::OkStatus();
}

void FittedBinaryGrid::Nearest(int64_t /*column*/, int64_t slab, const float* values, float* nearest,
                               Code* codes) const {
  const int64_t row = slab * kSlabRows;
  kernels_.pick_level(values, &levels_.values[row], levels_.borders.data() + row, levels_.levels(), levels_.padded_rows,
                      nearest, codes);
}

double BinaryStorage::PlannedBits(int64_t rows, int64_t cols) const {
  const int64_t scales = planes + (has_offsets ? 1 : 0);
  const int64_t groups = CeilDiv(cols, columns_per_fit(cols));
  return static_cast<double>(rows * (cols * planes + groups * scales * 8 * DtypeBytes(scale_dtype)));
}

namespace {

class Assembler {
 public:
  Assembler(const CodedColumns& coded, const BinaryStorage& storage)
      : coded_(coded),
        layout_{.rows = coded.codes.rows(),
                .cols = coded.codes.cols(),
                .planes = storage.planes,
                .group_size = storage.columns_per_fit(coded.codes.cols()),
                .has_offsets = storage.has_offsets,
                .scale_dtype = storage.scale_dtype} {
    for (int64_t c = 0; c < layout_.cols; ++c) {
      layout_.has_group_index |= coded.fit_of_column[c] != c / layout_.group_size;
    }
  }

  std::unique_ptr<QuantizedWeight> Run(const ExecutionContext& context) {
    const int64_t scale_bytes = layout_.rows * layout_.groups() * DtypeBytes(layout_.scale_dtype);
    tensors_.planes.resize(layout_.rows * layout_.planes * layout_.plane_row_bytes());
    tensors_.alphas.resize(scale_bytes * layout_.planes);
    if (layout_.has_offsets) tensors_.offsets.resize(scale_bytes);
    if (layout_.has_group_index) tensors_.group_index = coded_.fit_of_column;
    context.pool().ParallelFor(coded_.codes.slabs(), [this](int64_t slab) {
      for (int64_t r = 0; r < coded_.codes.rows_in(slab); ++r) {
        PackPlanes(slab, r);
        PackScales(coded_.codes.first_row(slab) + r);
      }
    });
    return std::make_unique<BinaryCodedWeight>(layout_, std::move(tensors_));
  }

 private:
  const BinaryLevels& LevelsOf(int64_t fit) const {
    return static_cast<const FittedBinaryGrid&>(*coded_.fits[fit]).levels();
  }

  void PackPlanes(int64_t slab, int64_t row_in_slab) {
    const int64_t row = coded_.codes.first_row(slab) + row_in_slab;
    std::vector<uint8_t> patterns(layout_.cols);
    std::vector<uint8_t> bits(layout_.cols);
    for (int64_t c = 0; c < layout_.cols; ++c) {
      const BinaryLevels& levels = LevelsOf(coded_.fit_of_column[c]);
      patterns[c] = levels.patterns[coded_.codes.column(slab, c)[row_in_slab] * levels.padded_rows + row];
    }
    for (int plane = 0; plane < layout_.planes; ++plane) {
      for (int64_t c = 0; c < layout_.cols; ++c) bits[c] = (patterns[c] >> plane) & 1;
      PackBits(bits.data(), layout_.cols, 1,
               tensors_.planes.data() + (row * layout_.planes + plane) * layout_.plane_row_bytes());
    }
  }

  void PackScales(int64_t row) {
    const int64_t groups = layout_.groups();
    std::vector<float> alphas(groups * layout_.planes);
    std::vector<float> offsets(groups);
    for (int64_t g = 0; g < groups; ++g) {
      const BinaryLevels& levels = LevelsOf(g);
      for (int i = 0; i < layout_.planes; ++i) {
        alphas[g * layout_.planes + i] = levels.alphas[i * levels.padded_rows + row];
      }
      offsets[g] = levels.offsets[row];
    }
    const int64_t row_bytes = groups * DtypeBytes(layout_.scale_dtype);
    NarrowFromF32(layout_.scale_dtype, alphas, tensors_.alphas.data() + row * row_bytes * layout_.planes);
    if (layout_.has_offsets) NarrowFromF32(layout_.scale_dtype, offsets, tensors_.offsets.data() + row * row_bytes);
  }

  const CodedColumns& coded_;
  BinaryCodedLayout layout_;
  BinaryCodedTensors tensors_;
};

}  // namespace

std::unique_ptr<QuantizedWeight> AssembleBinaryCodes(const ExecutionContext& context, const CodedColumns& coded,
                                                     const BinaryStorage& storage) {
  return Assembler(coded, storage).Run(context);
}

}  // namespace quantd
