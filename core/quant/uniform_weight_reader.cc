// Packed tensors of a file back into a UniformWeight. Hostile input: shapes, sizes and values are all checked.
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/quant/bit_stream.h"
#include "core/quant/uniform_weight.h"

namespace quantd {
namespace {

absl::Status Malformed(const StoredWeight& stored, absl::string_view problem) {
  return InvalidInput("ARTIFACT_MALFORMED",
                      absl::StrFormat("%s: %s; the artifact is damaged, fetch it again", stored.what, problem));
}

// Bounds that keep every product below in 64 bits.
constexpr int64_t kMaxSide = int64_t{1} << 30;

absl::Status CheckLayout(const StoredWeight& stored, const UniformLayout& layout) {
  if (layout.rows < 1 || layout.rows > kMaxSide || layout.cols < 1 || layout.cols > kMaxSide) {
    return Malformed(stored, absl::StrFormat("shape [%d, %d] is outside 1..2^30", layout.rows, layout.cols));
  }
  if (layout.bits < 1 || layout.bits > 8)
    return Malformed(stored, absl::StrFormat("bits is %d, not 1..8", layout.bits));
  if (layout.group_size < 1 || layout.group_size > layout.cols) {
    return Malformed(stored, absl::StrFormat("group_size %d is outside 1..%d", layout.group_size, layout.cols));
  }
  if (layout.scale_dtype != Dtype::kF16 && layout.scale_dtype != Dtype::kF32) {
    return Malformed(stored, "scale_dtype is neither F16 nor F32");
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
  if (!stored.description.is_object()) return Malformed(stored, "its description is not an object");
  absl::StatusOr<UniformLayout> layout = ParseLayout(stored);
  if (!layout.ok()) return Malformed(stored, layout.status().message());
  RETURN_IF_ERROR(CheckLayout(stored, *layout));
  return layout;
}

// Takes the bytes of the tensor out of `stored` and the tensor off its list.
absl::StatusOr<std::string> Take(StoredWeight& stored, absl::string_view suffix, Dtype dtype,
                                 std::vector<int64_t> shape) {
  for (size_t i = 0; i < stored.tensors.size(); ++i) {
    const StoredTensor& tensor = stored.tensors[i];
    if (tensor.suffix != suffix) continue;
    uint64_t bytes = static_cast<uint64_t>(DtypeBytes(dtype));
    for (int64_t side : shape) bytes *= static_cast<uint64_t>(side);
    if (tensor.dtype != dtype || tensor.shape != shape || tensor.bytes.size() != bytes) {
      return Malformed(stored,
                       absl::StrFormat("tensor '%s' is %s [%s] of %d bytes, not %s [%s] of %d", suffix,
                                       DtypeName(tensor.dtype), absl::StrJoin(tensor.shape, ", "), tensor.bytes.size(),
                                       DtypeName(dtype), absl::StrJoin(shape, ", "), bytes));
    }
    std::string taken = std::move(stored.tensors[i].bytes);
    stored.tensors.erase(stored.tensors.begin() + static_cast<std::ptrdiff_t>(i));
    return taken;
  }
  return Malformed(stored, absl::StrFormat("tensor '%s' is missing", suffix));
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
      return Malformed(stored, absl::StrFormat("tensor 'scales' is %g at row %d, group %d: scales are positive and %g "
                                               "of them finite",
                                               row[g], r, g, max_code));
    }
  }
  return absl::OkStatus();
}

// Each row of packed codes ends in zero bits, so that equal weights have equal bytes.
absl::Status CheckPadding(const StoredWeight& stored, absl::string_view suffix, const std::string& bytes, int64_t rows,
                          int64_t used_bits) {
  const int64_t row_bytes = CeilDiv(used_bits, 8);
  const int spare_bits = static_cast<int>(row_bytes * 8 - used_bits);
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t last = static_cast<uint8_t>(bytes[(r + 1) * row_bytes - 1]);
    if (last >> (8 - spare_bits) == 0) continue;
    return Malformed(stored, absl::StrFormat("tensor '%s' has bits set after the last code of row %d", suffix, r));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint8_t>> TakePacked(StoredWeight& stored, absl::string_view suffix, int64_t rows,
                                                int64_t used_bits) {
  ASSIGN_OR_RETURN(const std::string bytes, Take(stored, suffix, Dtype::kU8, {rows, CeilDiv(used_bits, 8)}));
  RETURN_IF_ERROR(CheckPadding(stored, suffix, bytes, rows, used_bits));
  return std::vector<uint8_t>(bytes.begin(), bytes.end());
}

// A tensor that the description does not call for would be left out of decoding: better to refuse than to guess.
absl::Status CheckNothingIsLeft(const StoredWeight& stored) {
  if (stored.tensors.empty()) return absl::OkStatus();
  return Malformed(stored, absl::StrFormat("tensor '%s' does not belong to a weight of this description",
                                           stored.tensors.front().suffix.substr(0, 64)));
}

absl::StatusOr<std::vector<int32_t>> TakeGroupIndex(StoredWeight& stored, const UniformLayout& layout) {
  ASSIGN_OR_RETURN(const std::string bytes, Take(stored, "group_index", Dtype::kI32, {layout.cols}));
  std::vector<int32_t> index(layout.cols);
  std::memcpy(index.data(), bytes.data(), bytes.size());
  for (int64_t c = 0; c < layout.cols; ++c) {
    if (index[c] >= 0 && index[c] < layout.groups()) continue;
    return Malformed(stored, absl::StrFormat("tensor 'group_index' is %d at input %d; there are %d groups", index[c], c,
                                             layout.groups()));
  }
  return index;
}

}  // namespace

absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadUniformWeight(StoredWeight stored) {
  ASSIGN_OR_RETURN(const UniformLayout layout, LayoutOf(stored));
  UniformTensors tensors;
  ASSIGN_OR_RETURN(tensors.codes, TakePacked(stored, "codes", layout.rows, layout.cols * layout.bits));
  ASSIGN_OR_RETURN(tensors.scales, Take(stored, "scales", layout.scale_dtype, {layout.scale_rows(), layout.groups()}));
  RETURN_IF_ERROR(CheckScales(stored, layout, tensors.scales));
  if (!layout.symmetric) {
    ASSIGN_OR_RETURN(tensors.zeros, TakePacked(stored, "zeros", layout.scale_rows(), layout.groups() * layout.bits));
  }
  if (layout.has_group_index) {
    ASSIGN_OR_RETURN(tensors.group_index, TakeGroupIndex(stored, layout));
  }
  RETURN_IF_ERROR(CheckNothingIsLeft(stored));
  return std::make_unique<UniformWeight>(layout, std::move(tensors));
}

}  // namespace quantd
