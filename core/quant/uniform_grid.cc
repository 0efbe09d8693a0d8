#include "core/quant/uniform_grid.h"

#include <algorithm>
#include <cstring>

#include "core/quant/bit_stream.h"
#include "core/quant/uniform_fit.h"
#include "core/quant/uniform_weight.h"

namespace quantd {
namespace {

class FittedUniformGrid : public FittedGrid {
 public:
  FittedUniformGrid(const UniformKernels& kernels, int max_code, UniformScales scales)
      : kernels_(kernels), max_code_(static_cast<float>(max_code)), scales_(std::move(scales)) {}

  void Nearest(int64_t /*column*/, int64_t slab, const float* values, float* nearest, Code* codes) const override {
    const int64_t row = slab * kSlabRows;
    kernels_.round_to_grid(values, &scales_.scales[row], &scales_.zeros[row], max_code_, nearest, codes);
  }
  const UniformScales& scales() const { return scales_; }

 private:
  const UniformKernels& kernels_;
  const float max_code_;
  const UniformScales scales_;
};

class UniformGrid : public Grid {
 public:
  explicit UniformGrid(const UniformOptions& options) : options_(options) {}

  int64_t columns_per_fit(int64_t cols) const override {
    return options_.group_size == -1 ? cols : options_.group_size;
  }
  double PlannedBits(int64_t rows, int64_t cols) const override;
  absl::StatusOr<std::unique_ptr<FittedGrid>> Fit(const ExecutionContext& context,
                                                  const FitColumns& columns) const override;
  std::unique_ptr<QuantizedWeight> Assemble(const ExecutionContext& context, const CodedColumns& coded) const override;

 private:
  UniformLayout LayoutOf(const CodedColumns& coded) const;

  const UniformOptions options_;
};

absl::StatusOr<std::unique_ptr<FittedGrid>> UniformGrid::Fit(const ExecutionContext& context,
                                                             const FitColumns& columns) const {
  ASSIGN_OR_RETURN(UniformScales scales, FitUniformScales(context, options_, columns));
  return std::make_unique<FittedUniformGrid>(UniformKernelsFor(context.isa()), options_.max_code(), std::move(scales));
}

double UniformGrid::PlannedBits(int64_t rows, int64_t cols) const {
  const int64_t group_bits = 8 * DtypeBytes(options_.scale_dtype) + (options_.symmetric ? 0 : options_.bits);
  const int64_t scale_rows = options_.per_row ? rows : 1;
  return static_cast<double>(rows * cols * options_.bits +
                             scale_rows * CeilDiv(cols, columns_per_fit(cols)) * group_bits);
}

UniformLayout UniformGrid::LayoutOf(const CodedColumns& coded) const {
  UniformLayout layout{.rows = coded.codes.rows(),
                       .cols = coded.codes.cols(),
                       .bits = options_.bits,
                       .group_size = columns_per_fit(coded.codes.cols()),
                       .symmetric = options_.symmetric,
                       .per_row = options_.per_row,
                       .scale_dtype = options_.scale_dtype};
  for (int64_t c = 0; c < layout.cols; ++c) {
    layout.has_group_index |= coded.fit_of_column[c] != c / layout.group_size;
  }
  return layout;
}

void PackCodes(const CodeSlabs& codes, const UniformLayout& layout, int64_t slab, uint8_t* packed) {
  std::vector<uint8_t> row(layout.cols);
  for (int64_t r = 0; r < codes.rows_in(slab); ++r) {
    const Code* source = codes.column(slab, 0) + r;
    for (int64_t c = 0; c < layout.cols; ++c) row[c] = static_cast<uint8_t>(source[c * kSlabRows]);
    PackBits(row.data(), layout.cols, layout.bits, packed + (codes.first_row(slab) + r) * layout.code_row_bytes());
  }
}

void PackScales(const CodedColumns& coded, const UniformLayout& layout, UniformTensors& tensors) {
  const int64_t groups = layout.groups();
  std::vector<float> scales(groups);
  std::vector<uint8_t> zeros(groups);
  const int64_t row_bytes = groups * DtypeBytes(layout.scale_dtype);
  for (int64_t r = 0; r < layout.scale_rows(); ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const UniformScales& fit = static_cast<const FittedUniformGrid&>(*coded.fits[g]).scales();
      scales[g] = fit.scales[r];
      zeros[g] = static_cast<uint8_t>(fit.zeros[r]);
    }
    NarrowFromF32(layout.scale_dtype, scales, tensors.scales.data() + r * row_bytes);
    if (!layout.symmetric)
      PackBits(zeros.data(), groups, layout.bits, tensors.zeros.data() + r * layout.zero_row_bytes());
  }
}

std::unique_ptr<QuantizedWeight> UniformGrid::Assemble(const ExecutionContext& context,
                                                       const CodedColumns& coded) const {
  const UniformLayout layout = LayoutOf(coded);
  UniformTensors tensors;
  tensors.codes.resize(layout.rows * layout.code_row_bytes());
  tensors.scales.resize(layout.scale_rows() * layout.groups() * DtypeBytes(layout.scale_dtype));
  tensors.zeros.resize(layout.scale_rows() * layout.zero_row_bytes());
  if (layout.has_group_index) tensors.group_index = coded.fit_of_column;
  context.pool().ParallelFor(coded.codes.slabs(),
                             [&](int64_t slab) { PackCodes(coded.codes, layout, slab, tensors.codes.data()); });
  PackScales(coded, layout, tensors);
  return std::make_unique<UniformWeight>(layout, std::move(tensors));
}

}  // namespace

UniformOptions UniformOptionsOf(const Parameters& parameters) {
  return {.bits = static_cast<int>(parameters.Int("bits")),
          .group_size = parameters.Int("group_size"),
          .symmetric = parameters.Bool("symmetric"),
          .authors_range = parameters.Text("symmetric_range") == "authors",
          .clip_search = parameters.Text("clip_search") == "mse",
          .per_row = parameters.Bool("per_row"),
          .scale_dtype = parameters.Text("scale_dtype") == "f16" ? Dtype::kF16 : Dtype::kF32};
}

std::unique_ptr<Grid> MakeUniformGrid(const Parameters& parameters) {
  return std::make_unique<UniformGrid>(UniformOptionsOf(parameters));
}

}  // namespace quantd
