#include "core/compute/planes_product.h"

#include <algorithm>
#include <vector>

#include "core/base/checked.h"
#include "core/compute/matmul.h"
#include "core/compute/plane_kernels.h"
#include "core/compute/vector_kernels.h"

namespace quantd {
namespace {

// Weight rows decoded at once for a large product: those of one tile of MatMulTransposed's result.
constexpr int64_t kDecodedRows = 256;
constexpr int64_t kTileRows = kTileBlocks * kPlaneRows;

// One row of `a` in the order of groups, filled up with zeros.
void InGroupOrder(const BinaryPlanes& weight, const float* from, std::vector<float>& into) {
  const std::vector<int32_t>& order = weight.layout().column_order;
  if (order.empty()) {
    std::copy_n(from, weight.cols(), into.begin());
  } else {
    for (int64_t i = 0; i < weight.cols(); ++i) into[i] = from[order[i]];
  }
}

// What one product looks up: the tables of up to kMaxTokens rows of `a`, in either form.
class ProductTables {
 public:
  ProductTables(const PlaneKernels& kernels, const BinaryPlanes& weight, const MatrixView& a,
                PlaneArithmetic arithmetic)
      : kernels_(kernels), arrays_(weight.arrays()), tokens_(static_cast<int>(a.rows)) {
    std::vector<float> x(static_cast<size_t>(arrays_.lines * kPlaneInputs));
    for (int t = 0; t < tokens_; ++t) {
      InGroupOrder(weight, a.row(t), x);
      arithmetic == PlaneArithmetic::kExact ? BuildExact(x, t) : BuildRounded(x, t);
    }
  }

  int tokens() const { return tokens_; }
  void MultiplyTile(int64_t tile, float* out, int64_t stride) const {
    if (rounded_.empty()) return kernels_.multiply_tile(arrays_, tile, exact_.data(), tokens_, out, stride);
    const RoundedTables tables = {rounded_.data(), quanta_.data(), sums_.data()};
    kernels_.multiply_tile_rounded(arrays_, tile, tables, tokens_, out, stride);
  }

 private:
  void BuildExact(const std::vector<float>& x, int token) {
    exact_.resize(x.size() / kTableInputs * kTableSize * static_cast<size_t>(tokens_));
    kernels_.build_tables(x.data(), static_cast<int64_t>(x.size()), token, tokens_, exact_.data());
  }

  void BuildRounded(const std::vector<float>& x, int token) {
    const int64_t line_tables = kRoundedLine * tokens_;
    rounded_.resize(static_cast<size_t>(arrays_.lines * line_tables));
    quanta_.resize(static_cast<size_t>(arrays_.lines * tokens_));
    sums_.resize(quanta_.size());
    PlaneSpan span;
    for (int64_t line = 0; line < arrays_.lines; line += span.lines) {
      span = SpanAt(arrays_, line);
      const int64_t cell = line * tokens_ + token;
      kernels_.build_rounded_tables(x.data() + line * kPlaneInputs, span.lines, token, tokens_,
                                    rounded_.data() + line * line_tables, &quanta_[cell], &sums_[cell]);
    }
  }

  const PlaneKernels& kernels_;
  const PlaneArrays& arrays_;
  const int tokens_;
  std::vector<float> exact_;
  std::vector<int16_t> rounded_;
  std::vector<float> quanta_, sums_;
};

// At most kMaxTokens rows of `a`.
void MultiplyFew(const ExecutionContext& context, const MatrixView& a, const BinaryPlanes& weight,
                 MutableMatrixView out, const PlanesProductOptions& options) {
  const ProductTables tables(PlaneKernelsFor(context.isa()), weight, a, options.arithmetic);
  const auto add = VectorKernelsFor(context.isa()).add;
  // Neighbouring tiles go to one thread, which then reads one stream; how many has no influence on results.
  const int64_t tiles = weight.arrays().tiles();
  const int64_t parts = std::min<int64_t>(tiles, 4 * context.threads());
  context.pool().ParallelFor(parts, [&](int64_t part) {
    for (int64_t tile = tiles * part / parts; tile < tiles * (part + 1) / parts; ++tile) {
      const int64_t first = tile * kTileRows;
      if (!options.accumulate) {
        tables.MultiplyTile(tile, out.data + first, out.stride);
        continue;
      }
      float products[kMaxTokens * kTileRows];
      tables.MultiplyTile(tile, products, kTileRows);
      for (int t = 0; t < tables.tokens(); ++t) {
        add(products + t * kTileRows, out.row(t) + first, std::min(kTileRows, weight.rows() - first));
      }
    }
  });
}

}  // namespace

void MultiplyPlanes(const ExecutionContext& context, const MatrixView& a, const BinaryPlanes& weight,
                    MutableMatrixView out, const PlanesProductOptions& options) {
  if (a.rows <= kMaxPlaneVectors) {
    for (int64_t row = 0; row < a.rows; row += kMaxTokens) {
      const int64_t rows = std::min<int64_t>(kMaxTokens, a.rows - row);
      MultiplyFew(context, a.Rows(row, rows), weight, out.Rows(row, rows), options);
    }
    return;
  }
  const int64_t tiles = CeilDiv(weight.rows(), kDecodedRows);
  context.pool().ParallelFor(tiles, [&](int64_t tile) {
    const int64_t first = tile * kDecodedRows;
    Matrix decoded(std::min(kDecodedRows, weight.rows() - first), weight.cols());
    weight.DecodeRows(context.isa(), first, decoded.view());
    MatMulTransposed(context, a, decoded.view(), out.Cols(first, decoded.rows()), options.accumulate);
  });
}

int64_t PlaneRoundings(const PlanesLayout& layout) {
  const int64_t group = std::min(layout.group_size, layout.cols);
  const int64_t spans = CeilDiv(layout.cols, group) * CeilDiv(group, kSpanLines * kPlaneInputs);
  return 2 + kSpanLines * kLineTables + layout.planes + 4 + spans;
}

}  // namespace quantd
