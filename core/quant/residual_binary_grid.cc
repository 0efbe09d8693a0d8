#include "core/quant/residual_binary_grid.h"

#include <algorithm>

#include "core/quant/bit_stream.h"
#include "core/quant/residual_binary_fit.h"
#include "core/quant/residual_binary_kernels.h"
#include "core/quant/residual_binary_weight.h"

namespace quantd {
namespace {

constexpr Code kSignBit = 1;
constexpr Code kSecondBit = 2;
constexpr Code kSalientFlag = 4;  // in every row of a salient column

class FittedBinaryBlock : public FittedGrid {
 public:
  FittedBinaryBlock(const ExecutionContext& context, const ResidualBinaryOptions& options, const FitColumns& columns,
                    BinaryBlock block)
      : kernels_(ResidualBinaryKernelsFor(context.isa())),
        on_saliency_(SearchesOnSaliency(options)),
        costs_(columns.column_costs.begin(), columns.column_costs.end()),
        block_(std::move(block)) {
    if (costs_.empty()) costs_.assign(columns.count, 1.0f);
  }

  void Nearest(int64_t column, int64_t slab, const float* values, float* nearest, Code* codes) const override {
    const int64_t row = slab * kSlabRows;
    const auto level = [&](BinaryLevel which) { return &block_.levels[which][row]; };
    if (block_.salient[column]) {
      const SalientLevels levels = {level(kSalientMean), level(kSalientScale), level(kSalientSecondScale),
                                    &block_.first_mean[row], &block_.second_mean[row]};
      kernels_.code_salient(values, levels, nearest, codes);
      for (int64_t i = 0; i < kSlabRows; ++i) codes[i] |= kSalientFlag;
      return;
    }
    float domain[kSlabRows];
    if (on_saliency_) {
      kernels_.weigh(values, costs_[column], domain);
    } else {
      std::copy_n(values, kSlabRows, domain);
    }
    kernels_.code_plain(values, domain, block_.split, {level(kLowMean), level(kLowScale)},
                        {level(kHighMean), level(kHighScale)}, nearest, codes);
  }

  const BinaryBlock& block() const { return block_; }

 private:
  const ResidualBinaryKernels& kernels_;
  const bool on_saliency_;
  std::vector<float> costs_;  // of the fitted columns
  const BinaryBlock block_;
};

class ResidualBinaryGrid : public Grid {
 public:
  explicit ResidualBinaryGrid(const ResidualBinaryOptions& options) : options_(options) {}

  int64_t columns_per_fit(int64_t cols) const override { return std::min(options_.block_size, cols); }
  Compensation compensation() const override { return Compensation::kBlock; }
  FitTime fit_time() const override { return FitTime::kLate; }
  double PlannedBits(int64_t rows, int64_t cols) const override {
    return static_cast<double>(LayoutFor(rows, cols).StoredBits());
  }
  absl::StatusOr<std::unique_ptr<FittedGrid>> Fit(const ExecutionContext& context,
                                                  const FitColumns& columns) const override {
    ASSIGN_OR_RETURN(BinaryBlock block, FitBinaryBlock(context, options_, columns));
    return std::make_unique<FittedBinaryBlock>(context, options_, columns, std::move(block));
  }
  std::unique_ptr<QuantizedWeight> Assemble(const ExecutionContext& context, const CodedColumns& coded) const override;

 private:
  ResidualBinaryLayout LayoutFor(int64_t rows, int64_t cols) const {
    return {.rows = rows,
            .cols = cols,
            .block_size = columns_per_fit(cols),
            .means = options_.subtract_mean,
            .scale_dtype = options_.scale_dtype};
  }

  const ResidualBinaryOptions options_;
};

const BinaryBlock& BlockOf(const CodedColumns& coded, int64_t block) {
  return static_cast<const FittedBinaryBlock&>(*coded.fits[block]).block();
}

void PackPlanes(const CodeSlabs& codes, int64_t slab, ResidualBinaryTensors& tensors) {
  const int64_t cols = codes.cols(), row_bytes = PackedBytes(cols, 1);
  std::vector<uint8_t> signs(cols), second_bits(cols);
  for (int64_t r = 0; r < codes.rows_in(slab); ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const Code code = codes.column(slab, c)[r];
      signs[c] = (code & kSignBit) != 0 ? 1 : 0;
      second_bits[c] = (code & kSecondBit) != 0 ? 1 : 0;
    }
    const int64_t row = codes.first_row(slab) + r;
    PackBits(signs.data(), cols, 1, tensors.signs.data() + row * row_bytes);
    PackBits(second_bits.data(), cols, 1, tensors.second_bits.data() + row * row_bytes);
  }
}

void PackSalient(const CodedColumns& coded, ResidualBinaryTensors& tensors) {
  std::vector<uint8_t> flags(coded.codes.cols());
  for (int64_t c = 0; c < coded.codes.cols(); ++c) {
    flags[c] = (coded.codes.at(0, c) & kSalientFlag) != 0 ? 1 : 0;
  }
  PackBits(flags.data(), coded.codes.cols(), 1, tensors.salient.data());
}

std::unique_ptr<QuantizedWeight> ResidualBinaryGrid::Assemble(const ExecutionContext& context,
                                                              const CodedColumns& coded) const {
  ResidualBinaryLayout layout = LayoutFor(coded.codes.rows(), coded.codes.cols());
  for (int64_t c = 0; c < layout.cols; ++c) {
    layout.has_block_index |= coded.fit_of_column[c] != c / layout.block_size;
  }
  const int64_t row_bytes = PackedBytes(layout.cols, 1);
  ResidualBinaryTensors tensors;
  tensors.signs.resize(layout.rows * row_bytes);
  tensors.second_bits.resize(layout.rows * row_bytes);
  tensors.salient.resize(row_bytes);
  if (layout.has_block_index) tensors.block_index = coded.fit_of_column;
  context.pool().ParallelFor(coded.codes.slabs(), [&](int64_t slab) { PackPlanes(coded.codes, slab, tensors); });
  PackSalient(coded, tensors);
  for (int64_t row = 0; row < layout.rows; ++row) {
    for (int64_t block = 0; block < layout.blocks(); ++block) {
      for (const auto& levels : BlockOf(coded, block).levels) tensors.levels.push_back(levels[row]);
    }
  }
  return std::make_unique<ResidualBinaryWeight>(layout, std::move(tensors));
}

}  // namespace

std::vector<ParameterInfo> ResidualBinaryParameters() {
  return {
      {"binary_block_size",
       ParameterType::kInt,
       "128",
       1,
       1 << 20,
       {},
       "inputs",
       "columns coded together, between which alone errors are repaid; the last block may be shorter"},
      {"saliency",
       ParameterType::kChoice,
       "hessian",
       0,
       0,
       {"hessian", "magnitude"},
       "",
       "what makes a column salient: squared weights by what an error there costs, or the weights"},
      {"binary_search",
       ParameterType::kChoice,
       "released",
       0,
       0,
       {"released", "paper"},
       "",
       "how salient columns and the split are searched: as in the released BiLLM code (error on the saliency), or as "
       "in the paper (error on the weights)"},
      {"subtract_mean",
       ParameterType::kBool,
       "true",
       0,
       0,
       {},
       "",
       "planes around the mean of their weights, which is stored; false: around 0, as in the paper"},
  };
}

ResidualBinaryOptions ResidualBinaryOptionsOf(const Parameters& parameters) {
  return {.block_size = parameters.Int("binary_block_size"),
          .hessian_saliency = parameters.Text("saliency") == "hessian",
          .paper_search = parameters.Text("binary_search") == "paper",
          .subtract_mean = parameters.Bool("subtract_mean"),
          .scale_dtype = parameters.Text("scale_dtype") == "f16" ? Dtype::kF16 : Dtype::kF32};
}

std::unique_ptr<Grid> MakeResidualBinaryGrid(const Parameters& parameters) {
  return std::make_unique<ResidualBinaryGrid>(ResidualBinaryOptionsOf(parameters));
}

}  // namespace quantd
