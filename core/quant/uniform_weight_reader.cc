// Packed tensors of a file back into a UniformWeight. Hostile input: shapes, sizes and values are all checked.
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/quant/stored_tensors.h"
#include "core/quant/uniform_weight.h"

namespace quantd {
namespace {

absl::Status CheckLayout(const StoredWeight& stored, const UniformLayout& layout) {
  if (layout.bits < 1 || layout.bits > 8)
    return MalformedWeight(stored, absl::StrFormat("bits is %d, not 1..8", layout.bits));
  if (layout.group_size < 1 || layout.group_size > layout.cols) {
    return MalformedWeight(stored, absl::StrFormat("group_size %d is outside 1..%d", layout.group_size, layout.cols));
  }
  if (layout.scale_dtype != Dtype::kF16 && layout.scale_dtype != Dtype::kF32) {
    return MalformedWeight(stored, "scale_dtype is neither F16 nor F32");
  }
  return absl::OkStatus();
}

absl::StatusOr<UniformLayout> ParseLayout(const StoredWeight& stored) {
  const Json& description = stored.description;
  UniformLayout layout{.rows = stored.rows, .cols = stored.cols};
  ASSIGN_OR_RETURN(const int64_t bits, JsonInt(description, "bits", stored.what));
  layout.bits = bits >= 1 && bits <= 8 ? static_cast<int>(bits) : 0;
  ASSIGN_OR_RETURN(layout.group_size, JsonInt(description, "group_size", stored.what));
  ASSIGN_OR_RETURN(layout.symmetric, JsonBoolOr(description, "symmetric", false, stored.what));
  ASSIGN_OR_RETURN(layout.per_row, JsonBoolOr(description, "per_row", true, stored.what));
  ASSIGN_OR_RETURN(layout.has_group_index, JsonBoolOr(description, "group_index", false, stored.what));
  ASSIGN_OR_RETURN(const std::string dtype, JsonString(description, "scale_dtype", stored.what));
  layout.scale_dtype = DtypeFromName(dtype).value_or(Dtype::kBool);
  return layout;
}

absl::StatusOr<UniformLayout> LayoutOf(const StoredWeight& stored) {
  RETURN_IF_ERROR(CheckStoredShape(stored));
  absl::StatusOr<UniformLayout> layout = ParseLayout(stored);
  if (!layout.ok()) return MalformedWeight(stored, layout.status().message());
  RETURN_IF_ERROR(CheckLayout(stored, *layout));
  return layout;
}

absl::Status CheckScales(const StoredWeight& stored, const UniformLayout& layout, const std::string& bytes) {
  std::vector<float> row(layout.groups());
  const float max_code = static_cast<float>((1 << layout.bits) - 1);
  const size_t row_bytes = row.size() * DtypeBytes(layout.scale_dtype);
  for (int64_t r = 0; r < layout.scale_rows(); ++r) {
    WidenToF32(layout.scale_dtype, bytes.data() + r * row_bytes, absl::MakeSpan(row));
    for (size_t g = 0; g < row.size(); ++g) {
      // Also the largest multiple: a decoded value is finite.
      if (row[g] > 0 && std::isfinite(row[g] * max_code)) continue;
      return MalformedWeight(stored,
                             absl::StrFormat("tensor 'scales' is %g at row %d, group %d: scales are positive and %g "
                                             "of them finite",
                                             row[g], r, g, max_code));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadUniformWeight(StoredWeight stored) {
  ASSIGN_OR_RETURN(const UniformLayout layout, LayoutOf(stored));
  UniformTensors tensors;
  ASSIGN_OR_RETURN(tensors.codes, TakeCodes(stored, "codes", layout.rows, layout.cols, layout.bits));
  ASSIGN_OR_RETURN(tensors.scales,
                   TakeTensor(stored, "scales", layout.scale_dtype, {layout.scale_rows(), layout.groups()}));
  RETURN_IF_ERROR(CheckScales(stored, layout, tensors.scales));
  if (!layout.symmetric) {
    ASSIGN_OR_RETURN(tensors.zeros, TakeCodes(stored, "zeros", layout.scale_rows(), layout.groups(), layout.bits));
  }
  if (layout.has_group_index) {
    ASSIGN_OR_RETURN(tensors.group_index, TakeGroupIndex(stored, layout.cols, layout.groups()));
  }
  RETURN_IF_ERROR(CheckNothingIsLeft(stored));
  return std::make_unique<UniformWeight>(layout, std::move(tensors));
}

}  // namespace quantd
