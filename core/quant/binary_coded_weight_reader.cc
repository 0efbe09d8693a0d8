#include <cmath>

#include "absl/strings/str_format.h"
#include "core/base/json.h"
#include "core/quant/binary_coded_weight.h"
#include "core/quant/stored_tensors.h"

namespace quantd {
namespace {

absl::Status CheckLayout(const StoredWeight& stored, const BinaryCodedLayout& layout) {
  if (layout.group_size < 1 || layout.group_size > layout.cols) {
    return MalformedWeight(stored, absl::StrFormat("group_size %d is outside 1..%d", layout.group_size, layout.cols));
  }
  if (layout.scale_dtype != Dtype::kF16 && layout.scale_dtype != Dtype::kF32) {
    return MalformedWeight(stored, "scale_dtype is neither F16 nor F32");
  }
  return absl::OkStatus();
}

absl::StatusOr<BinaryCodedLayout> ParseLayout(const StoredWeight& stored) {
  const Json& description = stored.description;
  BinaryCodedLayout layout{.rows = stored.rows, .cols = stored.cols};
  ASSIGN_OR_RETURN(const int64_t planes, JsonInt(description, "bits", stored.what));
  if (planes < 1 || planes > 8) return absl::InvalidArgumentError(absl::StrFormat("bits %d is outside 1..8", planes));
  layout.planes = static_cast<int>(planes);
  ASSIGN_OR_RETURN(layout.group_size, JsonInt(description, "group_size", stored.what));
  ASSIGN_OR_RETURN(layout.has_offsets, JsonBoolOr(description, "offsets", true, stored.what));
  ASSIGN_OR_RETURN(layout.has_group_index, JsonBoolOr(description, "group_index", false, stored.what));
  ASSIGN_OR_RETURN(const std::string dtype, JsonString(description, "scale_dtype", stored.what));
  layout.scale_dtype = DtypeFromName(dtype).value_or(Dtype::kBool);
  return layout;
}

absl::StatusOr<BinaryCodedLayout> LayoutOf(const StoredWeight& stored) {
  RETURN_IF_ERROR(CheckStoredShape(stored));
  absl::StatusOr<BinaryCodedLayout> layout = ParseLayout(stored);
  if (!layout.ok()) return MalformedWeight(stored, layout.status().message());
  RETURN_IF_ERROR(CheckLayout(stored, *layout));
  return layout;
}

// Every value a group can decode to is finite: the sum of the magnitudes is.
absl::Status CheckGroup(const StoredWeight& stored, absl::Span<const float> alphas, float offset, int64_t row,
                        int64_t group) {
  float reach = std::abs(offset);
  for (const float alpha : alphas) {
    if (!(alpha >= 0)) {
      return MalformedWeight(stored, absl::StrFormat("tensor 'alphas' holds %g at row %d, group %d: they are 0 or more",
                                                     alpha, row, group));
    }
    reach += alpha;
  }
  if (std::isfinite(reach)) return absl::OkStatus();
  return MalformedWeight(stored, absl::StrFormat("the alphas and offset of row %d, group %d add up to %g: weights are "
                                                 "finite",
                                                 row, group, reach));
}

absl::Status CheckScales(const StoredWeight& stored, const BinaryCodedWeight& weight) {
  const BinaryCodedLayout& layout = weight.layout();
  std::vector<float> alphas(layout.groups() * layout.planes);
  std::vector<float> offsets(layout.groups());
  for (int64_t r = 0; r < layout.rows; ++r) {
    weight.AlphasOfRow(r, absl::MakeSpan(alphas));
    weight.OffsetsOfRow(r, absl::MakeSpan(offsets));
    for (int64_t g = 0; g < layout.groups(); ++g) {
      const auto of_group = absl::MakeConstSpan(alphas).subspan(g * layout.planes, layout.planes);
      RETURN_IF_ERROR(CheckGroup(stored, of_group, offsets[g], r, g));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadBinaryCodedWeight(StoredWeight stored) {
  ASSIGN_OR_RETURN(const BinaryCodedLayout layout, LayoutOf(stored));
  BinaryCodedTensors tensors;
  ASSIGN_OR_RETURN(tensors.planes, TakeCodes(stored, "planes", layout.rows * layout.planes, layout.cols, 1));
  ASSIGN_OR_RETURN(tensors.alphas,
                   TakeTensor(stored, "alphas", layout.scale_dtype, {layout.rows, layout.groups(), layout.planes}));
  if (layout.has_offsets) {
    ASSIGN_OR_RETURN(tensors.offsets,
                     TakeTensor(stored, "offsets", layout.scale_dtype, {layout.rows, layout.groups()}));
  }
  if (layout.has_group_index) {
    ASSIGN_OR_RETURN(tensors.group_index, TakeGroupIndex(stored, layout.cols, layout.groups()));
  }
  RETURN_IF_ERROR(CheckNothingIsLeft(stored));
  auto weight = std::make_unique<BinaryCodedWeight>(layout, std::move(tensors));
  RETURN_IF_ERROR(CheckScales(stored, *weight));
  return weight;
}

}  // namespace quantd
