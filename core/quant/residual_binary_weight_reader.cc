// Packed tensors of a file back into a ResidualBinaryWeight. Hostile input: shapes, sizes and values are all checked.
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/quant/residual_binary_weight.h"
#include "core/quant/stored_tensors.h"
#include "core/quant/unsigned_integers.h"

namespace quantd {
namespace {

absl::StatusOr<ResidualBinaryLayout> ParseLayout(const StoredWeight& stored) {
  const Json& description = stored.description;
  ResidualBinaryLayout layout{.rows = stored.rows, .cols = stored.cols};
  ASSIGN_OR_RETURN(layout.block_size, JsonInt(description, "block_size", stored.what));
  ASSIGN_OR_RETURN(layout.means, JsonBoolOr(description, "means", true, stored.what));
  ASSIGN_OR_RETURN(layout.has_block_index, JsonBoolOr(description, "block_index", false, stored.what));
  ASSIGN_OR_RETURN(const std::string dtype, JsonString(description, "scale_dtype", stored.what));
  layout.scale_dtype = DtypeFromName(dtype).value_or(Dtype::kBool);
  return layout;
}

absl::StatusOr<ResidualBinaryLayout> LayoutOf(const StoredWeight& stored) {
  RETURN_IF_ERROR(CheckStoredShape(stored));
  absl::StatusOr<ResidualBinaryLayout> layout = ParseLayout(stored);
  if (!layout.ok()) return MalformedWeight(stored, layout.status().message());
  if (layout->block_size < 1 || layout->block_size > layout->cols) {
    return MalformedWeight(stored, absl::StrFormat("block_size %d is outside 1..%d", layout->block_size, layout->cols));
  }
  if (layout->scale_dtype != Dtype::kF16 && layout->scale_dtype != Dtype::kF32) {
    return MalformedWeight(stored, "scale_dtype is neither F16 nor F32");
  }
  return layout;
}

// In the file as many a row and block as layout.stored_levels(); in memory always with means.
absl::StatusOr<std::vector<float>> TakeLevels(StoredWeight& stored, const ResidualBinaryLayout& layout) {
  const int64_t stored_levels = layout.stored_levels();
  ASSIGN_OR_RETURN(const std::string bytes,
                   TakeTensor(stored, "levels", layout.scale_dtype, {layout.rows, layout.blocks(), stored_levels}));
  std::vector<float> values(bytes.size() / DtypeBytes(layout.scale_dtype));
  WidenToF32(layout.scale_dtype, bytes.data(), absl::MakeSpan(values));
  if (layout.means) return values;
  static constexpr BinaryLevel kScales[] = {kLowScale, kHighScale, kSalientScale, kSalientSecondScale};
  std::vector<float> levels(layout.rows * layout.blocks() * kBinaryLevels);
  for (size_t i = 0; i < values.size(); ++i) {
    levels[i / stored_levels * kBinaryLevels + kScales[i % stored_levels]] = values[i];
  }
  return levels;
}

// Also what they add up to: every value is finite.
absl::Status CheckLevels(const StoredWeight& stored, const ResidualBinaryLayout& layout,
                         const std::vector<float>& levels) {
  for (size_t first = 0; first < levels.size(); first += kBinaryLevels) {
    float reach = 0;
    for (size_t i = 0; i < kBinaryLevels; ++i) reach += std::abs(levels[first + i]);
    if (std::isfinite(reach)) continue;
    const int64_t place = static_cast<int64_t>(first) / kBinaryLevels;
    return MalformedWeight(stored, absl::StrFormat("tensor 'levels' at row %d, block %d: their magnitudes must have a "
                                                   "finite sum",
                                                   place / layout.blocks(), place % layout.blocks()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> TakeBlockIndex(StoredWeight& stored, const ResidualBinaryLayout& layout) {
  const Dtype dtype = layout.block_index_dtype();
  ASSIGN_OR_RETURN(const std::string bytes, TakeTensor(stored, "block_index", dtype, {layout.cols}));
  std::vector<int32_t> index = UnpackUnsigned(dtype, bytes);
  for (int64_t c = 0; c < layout.cols; ++c) {
    if (index[c] >= 0 && index[c] < layout.blocks()) continue;
    return MalformedWeight(stored, absl::StrFormat("tensor 'block_index' is %d at input %d; there are %d blocks",
                                                   index[c], c, layout.blocks()));
  }
  return index;
}

}  // namespace

absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadResidualBinaryWeight(StoredWeight stored) {
  ASSIGN_OR_RETURN(const ResidualBinaryLayout layout, LayoutOf(stored));
  ResidualBinaryTensors tensors;
  ASSIGN_OR_RETURN(tensors.signs, TakeCodes(stored, "signs", layout.rows, layout.cols, 1));
  ASSIGN_OR_RETURN(tensors.second_bits, TakeCodes(stored, "second_bits", layout.rows, layout.cols, 1));
  ASSIGN_OR_RETURN(tensors.salient, TakeCodes(stored, "salient", 1, layout.cols, 1));
  ASSIGN_OR_RETURN(tensors.levels, TakeLevels(stored, layout));
  RETURN_IF_ERROR(CheckLevels(stored, layout, tensors.levels));
  if (layout.has_block_index) {
    ASSIGN_OR_RETURN(tensors.block_index, TakeBlockIndex(stored, layout));
  }
  RETURN_IF_ERROR(CheckNothingIsLeft(stored));
  return std::make_unique<ResidualBinaryWeight>(layout, std::move(tensors));
}

}  // namespace quantd
