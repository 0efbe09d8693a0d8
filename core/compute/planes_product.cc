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

// Tables of up to kMaxTokens rows of `a`.
std::vector<float> BuildTables(const PlaneKernels& kernels, const BinaryPlanes& weight, const MatrixView& a) {
  const int64_t inputs = weight.arrays().lines * kPlaneInputs;
  std::vector<float> tables(static_cast<size_t>(inputs / kTableInputs * kTableSize * a.rows));
  std::vector<float> x(static_cast<size_t>(inputs));
  for (int64_t r = 0; r < a.rows; ++r) {
    InGroupOrder(weight, a.row(r), x);
    kernels.build_tables(x.data(), inputs, static_cast<int>(r), static_cast<int>(a.rows), tables.data());
  }
  return tables;
}

// At most kMaxTokens rows of `a`.
void MultiplyFew(const ExecutionContext& context, const MatrixView& a, const BinaryPlanes& weight,
                 MutableMatrixView out, bool accumulate) {
  const PlaneKernels& kernels = PlaneKernelsFor(context.isa());
  const PlaneArrays& arrays = weight.arrays();
  const std::vector<float> tables = BuildTables(kernels, weight, a);
  const auto tokens = static_cast<int>(a.rows);
  const auto add = VectorKernelsFor(context.isa()).add;
  // Neighbouring tiles go to one thread, which then reads one stream; how many has no influence on results.
  const int64_t tiles = arrays.tiles();
  const int64_t parts = std::min<int64_t>(tiles, 4 * context.threads());
  context.pool().ParallelFor(parts, [&](int64_t part) {
    for (int64_t tile = tiles * part / parts; tile < tiles * (part + 1) / parts; ++tile) {
      const int64_t first = tile * kTileRows;
      if (!accumulate) {
        kernels.multiply_tile(arrays, tile, tables.data(), tokens, out.data + first, out.stride);
        continue;
      }
      float products[kMaxTokens * kTileRows];
      kernels.multiply_tile(arrays, tile, tables.data(), tokens, products, kTileRows);
      for (int t = 0; t < tokens; ++t) {
        add(products + t * kTileRows, out.row(t) + first, std::min(kTileRows, arrays.rows - first));
      }
    }
  });
}

}  // namespace

void MultiplyPlanes(const ExecutionContext& context, const MatrixView& a, const BinaryPlanes& weight,
                    MutableMatrixView out, bool accumulate) {
  if (a.rows <= kMaxPlaneVectors) {
    for (int64_t row = 0; row < a.rows; row += kMaxTokens) {
      const int64_t rows = std::min<int64_t>(kMaxTokens, a.rows - row);
      MultiplyFew(context, a.Rows(row, rows), weight, out.Rows(row, rows), accumulate);
    }
    return;
  }
  const int64_t tiles = CeilDiv(weight.rows(), kDecodedRows);
  context.pool().ParallelFor(tiles, [&](int64_t tile) {
    const int64_t first = tile * kDecodedRows;
    Matrix decoded(std::min(kDecodedRows, weight.rows() - first), weight.cols());
    weight.DecodeRows(context.isa(), first, decoded.view());
    MatMulTransposed(context, a, decoded.view(), out.Cols(first, decoded.rows()), accumulate);
  });
}

int64_t PlaneRoundings(const PlanesLayout& layout) {
  const int64_t group = std::min(layout.group_size, layout.cols);
  const int64_t spans = CeilDiv(layout.cols, group) * CeilDiv(group, kSpanLines * kPlaneInputs);
  return 2 + kSpanLines * kLineTables + layout.planes + 3 + spans;
}

}  // namespace quantd
