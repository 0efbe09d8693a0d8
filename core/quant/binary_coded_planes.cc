// Binary codes as kernels run them: the same planes, alphas and offsets in another order.
#include <vector>

#include "core/quant/binary_coded_weight.h"
#include "core/quant/group_order.h"

namespace quantd {

std::optional<PlanesLayout> BinaryCodedWeight::RunLayout() const {
  PlanesLayout layout;
  layout.rows = layout_.rows;
  layout.cols = layout_.cols;
  layout.planes = layout_.planes;
  layout.group_size = layout_.group_size;
  layout.scaling = PlaneScaling::kSigns;
  layout.scale_dtype = layout_.scale_dtype;
  if (!layout_.has_group_index) return layout;
  auto order = ColumnsByGroup(tensors_.group_index, layout_.group_size);
  if (!order.has_value()) return std::nullopt;
  layout.column_order = *std::move(order);
  return layout;
}

void BinaryCodedWeight::FillPlanes(BinaryPlanesBuilder& builder) const {
  std::vector<uint8_t> patterns(layout_.cols);
  std::vector<float> alphas(layout_.groups() * layout_.planes), offsets(layout_.groups());
  for (int64_t r = 0; r < layout_.rows; ++r) {
    PatternsOfRow(r, absl::MakeSpan(patterns));
    AlphasOfRow(r, absl::MakeSpan(alphas));
    OffsetsOfRow(r, absl::MakeSpan(offsets));
    builder.SetRow(r,
                   {.codes = patterns, .scales = {}, .bases = {}, .steps = {}, .alphas = alphas, .offsets = offsets});
  }
}

}  // namespace quantd
