// A uniform grid as bit planes: value = scale * (-zero + sum of 2^i bit_i).
#include <vector>

#include "core/quant/group_order.h"
#include "core/quant/uniform_weight.h"

namespace quantd {

std::optional<PlanesLayout> UniformWeight::RunLayout() const {
  PlanesLayout layout;
  layout.rows = layout_.rows;
  layout.cols = layout_.cols;
  layout.planes = layout_.bits;
  layout.group_size = layout_.group_size;
  layout.scale_dtype = layout_.scale_dtype;
  layout.wide_bases = layout_.bits == 8 && !layout_.symmetric;
  for (int i = 0; i < layout_.bits; ++i) layout.shared_steps.push_back(static_cast<uint8_t>(1 << i));
  if (!layout_.has_group_index) return layout;
  auto order = ColumnsByGroup(tensors_.group_index, layout_.group_size);
  if (!order.has_value()) return std::nullopt;
  layout.column_order = *std::move(order);
  return layout;
}

void UniformWeight::FillPlanes(BinaryPlanesBuilder& builder) const {
  RowParts parts = {std::vector<uint8_t>(layout_.cols), std::vector<float>(layout_.groups()),
                    std::vector<uint8_t>(layout_.groups())};
  std::vector<int16_t> bases(layout_.groups());
  for (int64_t r = 0; r < layout_.rows; ++r) {
    CodesOfRow(r, absl::MakeSpan(parts.codes));
    ScalesOfRow(r, absl::MakeSpan(parts.scales));
    ZerosOfRow(r, absl::MakeSpan(parts.zeros));
    for (size_t g = 0; g < bases.size(); ++g) bases[g] = static_cast<int16_t>(-parts.zeros[g]);
    builder.SetRow(
        r, {.codes = parts.codes, .scales = parts.scales, .bases = bases, .steps = {}, .alphas = {}, .offsets = {}});
  }
}

}  // namespace quantd
