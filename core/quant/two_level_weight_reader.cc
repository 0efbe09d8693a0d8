// Packed tensors of a file back into a TwoLevelWeight. Hostile input: shapes, sizes and values are all checked.
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/quant/bit_stream.h"
#include "core/quant/stored_tensors.h"
#include "core/quant/two_level_weight.h"
#include "core/quant/unsigned_integers.h"

namespace quantd {
namespace {

constexpr std::array<absl::string_view, 4> kStorageNames = {"none", "plain", "whole", "tiled"};

class TwoLevelReader {
 public:
  explicit TwoLevelReader(StoredWeight stored) : stored_(std::move(stored)) {}

  absl::StatusOr<std::unique_ptr<QuantizedWeight>> Read() && {
    RETURN_IF_ERROR(CheckStoredShape(stored_));
    if (const absl::Status parsed = ParseLayout(); !parsed.ok()) return MalformedWeight(stored_, parsed.message());
    RETURN_IF_ERROR(CheckLayout());
    ASSIGN_OR_RETURN(tensors_.codes, TakeCodes(stored_, "codes", layout_.rows, layout_.cols, layout_.bits));
    RETURN_IF_ERROR(TakeTiled(layout_.scales, layout_.scale_bits, "scale", tensors_.scales));
    RETURN_IF_ERROR(TakeTiled(layout_.zeros, zero_code_bits(), "zero", tensors_.zeros));
    if (layout_.has_group_index) RETURN_IF_ERROR(TakeGroupIndex());
    if (layout_.outliers > 0) RETURN_IF_ERROR(TakeOutliers());
    RETURN_IF_ERROR(CheckNothingIsLeft(stored_));
    auto weight = std::make_unique<TwoLevelWeight>(layout_, std::move(tensors_));
    RETURN_IF_ERROR(CheckLevels(*weight));
    return weight;
  }

 private:
  int zero_code_bits() const { return layout_.zeros == TwoLevelStorage::kWhole ? layout_.bits : layout_.zero_bits; }

  // -1 for what no width can be.
  absl::StatusOr<int> Width(const char* key) const {
    ASSIGN_OR_RETURN(const int64_t value, JsonInt(stored_.description, key, stored_.what));
    return value >= 0 && value <= 8 ? static_cast<int>(value) : -1;
  }

  absl::StatusOr<TwoLevelStorage> Storage(const char* key) const {
    ASSIGN_OR_RETURN(const std::string name, JsonString(stored_.description, key, stored_.what));
    for (size_t i = 0; i < kStorageNames.size(); ++i) {
      if (name == kStorageNames[i]) return static_cast<TwoLevelStorage>(i);
    }
    return InvalidInput("ARTIFACT_MALFORMED", absl::StrFormat("'%s' is no known way to store them", key));
  }

  absl::StatusOr<Dtype> Floats(const char* key) const {
    ASSIGN_OR_RETURN(const std::string name, JsonString(stored_.description, key, stored_.what));
    const Dtype dtype = DtypeFromName(name).value_or(Dtype::kBool);
    if (dtype == Dtype::kF16 || dtype == Dtype::kF32) return dtype;
    return InvalidInput("ARTIFACT_MALFORMED", absl::StrFormat("%s is neither F16 nor F32", key));
  }

  absl::Status ParseLayout() {
    const Json& description = stored_.description;
    layout_.rows = stored_.rows;
    layout_.cols = stored_.cols;
    ASSIGN_OR_RETURN(layout_.bits, Width("bits"));
    ASSIGN_OR_RETURN(layout_.group_size, JsonInt(description, "group_size", stored_.what));
    ASSIGN_OR_RETURN(layout_.tile_rows, JsonInt(description, "tile_rows", stored_.what));
    ASSIGN_OR_RETURN(layout_.scales, Storage("scales"));
    ASSIGN_OR_RETURN(layout_.scale_bits, Width("scale_bits"));
    ASSIGN_OR_RETURN(layout_.zeros, Storage("zeros"));
    ASSIGN_OR_RETURN(layout_.zero_bits, Width("zero_bits"));
    ASSIGN_OR_RETURN(layout_.scale_dtype, Floats("scale_dtype"));
    ASSIGN_OR_RETURN(layout_.outlier_dtype, Floats("outlier_dtype"));
    ASSIGN_OR_RETURN(layout_.outliers, JsonInt(description, "outliers", stored_.what));
    ASSIGN_OR_RETURN(layout_.has_group_index, JsonBoolOr(description, "group_index", false, stored_.what));
    return absl::OkStatus();
  }

  absl::Status CheckRange(const char* what, int64_t value, int64_t least, int64_t greatest) const {
    if (value >= least && value <= greatest) return absl::OkStatus();
    return MalformedWeight(stored_, absl::StrFormat("%s %d is outside %d..%d", what, value, least, greatest));
  }

  absl::Status CheckLayout() const {
    const bool scales_tiled = layout_.scales == TwoLevelStorage::kTiled;
    const bool zeros_tiled = layout_.zeros == TwoLevelStorage::kTiled;
    if (!scales_tiled && layout_.scales != TwoLevelStorage::kPlain) {
      return MalformedWeight(stored_, "scales are neither plain nor tiled");
    }
    RETURN_IF_ERROR(CheckRange("bits", layout_.bits, 1, 8));
    RETURN_IF_ERROR(CheckRange("scale_bits", layout_.scale_bits, scales_tiled ? 1 : 0, 8));
    RETURN_IF_ERROR(CheckRange("zero_bits", layout_.zero_bits, zeros_tiled ? 1 : 0, 8));
    RETURN_IF_ERROR(CheckRange("group_size", layout_.group_size, 1, layout_.cols));
    RETURN_IF_ERROR(CheckRange("tile_rows", layout_.tile_rows, 1, kMaxWeightSide));
    return CheckRange("outliers", layout_.outliers, 0, layout_.rows * layout_.cols);
  }

  absl::StatusOr<std::vector<float>> TakeFloats(const std::string& suffix, Dtype dtype,
                                                const std::vector<int64_t>& shape) {
    ASSIGN_OR_RETURN(const std::string bytes, TakeTensor(stored_, suffix, dtype, shape));
    std::vector<float> values(bytes.size() / DtypeBytes(dtype));
    WidenToF32(dtype, bytes.data(), absl::MakeSpan(values));
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isfinite(values[i])) continue;
      return MalformedWeight(stored_, absl::StrFormat("tensor '%s' is %g at element %d", suffix, values[i], i));
    }
    return values;
  }

  absl::Status TakeTiled(TwoLevelStorage storage, int code_bits, const std::string& name, TiledTensors& tiled) {
    const int64_t groups = layout_.groups();
    if (storage == TwoLevelStorage::kPlain) {
      ASSIGN_OR_RETURN(tiled.values, TakeFloats(name + "s", layout_.scale_dtype, {layout_.rows, groups}));
    } else if (storage == TwoLevelStorage::kWhole) {
      ASSIGN_OR_RETURN(tiled.codes, TakeCodes(stored_, name + "s", layout_.rows, groups, code_bits));
    } else if (storage == TwoLevelStorage::kTiled) {
      ASSIGN_OR_RETURN(tiled.codes, TakeCodes(stored_, name + "_codes", layout_.rows, groups, code_bits));
      const std::vector<int64_t> shape = {layout_.tiles(), groups, 2};
      ASSIGN_OR_RETURN(const std::vector<float> levels, TakeFloats(name + "_levels", layout_.scale_dtype, shape));
      tiled.levels.resize(levels.size() / 2);
      for (size_t i = 0; i < tiled.levels.size(); ++i) tiled.levels[i] = {levels[2 * i], levels[2 * i + 1]};
    }
    return absl::OkStatus();
  }

  absl::Status TakeGroupIndex() {
    const Dtype dtype = layout_.group_index_dtype();
    ASSIGN_OR_RETURN(const std::string bytes, TakeTensor(stored_, "group_index", dtype, {layout_.cols}));
    tensors_.group_index = UnpackUnsigned(dtype, bytes);
    for (int64_t c = 0; c < layout_.cols; ++c) {
      const int32_t group = tensors_.group_index[c];
      if (group >= 0 && group < layout_.groups()) continue;
      return MalformedWeight(stored_, absl::StrFormat("tensor 'group_index' is %d at input %d; there are %d groups",
                                                      group, c, layout_.groups()));
    }
    return absl::OkStatus();
  }

  absl::Status TakeOutliers() {
    const Dtype dtype = layout_.column_dtype();
    ASSIGN_OR_RETURN(const std::string counts, TakeTensor(stored_, "outlier_counts", dtype, {layout_.rows}));
    ASSIGN_OR_RETURN(const std::string columns, TakeTensor(stored_, "outlier_columns", dtype, {layout_.outliers}));
    ASSIGN_OR_RETURN(tensors_.outlier_values, TakeFloats("outlier_values", layout_.outlier_dtype, {layout_.outliers}));
    tensors_.outlier_counts = UnpackUnsigned(dtype, counts);
    tensors_.outlier_columns = UnpackUnsigned(dtype, columns);
    int64_t begin = 0;
    for (int64_t row = 0; row < layout_.rows; ++row) {
      const int64_t count = tensors_.outlier_counts[row];
      if (count < 0 || count > layout_.outliers - begin) {
        return MalformedWeight(stored_, absl::StrFormat("tensor 'outlier_counts' is %d at row %d; %d outliers are left",
                                                        count, row, layout_.outliers - begin));
      }
      RETURN_IF_ERROR(CheckColumns(row, begin, begin + count));
      begin += count;
    }
    if (begin == layout_.outliers) return absl::OkStatus();
    return MalformedWeight(stored_, absl::StrFormat("tensor 'outlier_counts' adds up to %d; there are %d outliers",
                                                    begin, layout_.outliers));
  }

  absl::Status CheckColumns(int64_t row, int64_t begin, int64_t end) const {
    int64_t before = -1;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = tensors_.outlier_columns[i];
      if (column <= before || column >= layout_.cols) {
        return MalformedWeight(
            stored_, absl::StrFormat("tensor 'outlier_columns' is %d at element %d, row %d: columns rise within a row "
                                     "and stay below %d",
                                     column, i, row, layout_.cols));
      }
      before = column;
    }
    return absl::OkStatus();
  }

  // Every level of every group is finite.
  absl::Status CheckLevels(const TwoLevelWeight& weight) const {
    std::vector<float> scales(layout_.groups()), zeros(layout_.groups());
    const float max_code = static_cast<float>((1 << layout_.bits) - 1);
    for (int64_t row = 0; row < layout_.rows; ++row) {
      weight.ScalesOfRow(row, absl::MakeSpan(scales));
      weight.ZerosOfRow(row, absl::MakeSpan(zeros));
      for (size_t g = 0; g < scales.size(); ++g) {
        const float reach = std::abs(zeros[g]) + max_code;
        if (std::isfinite(scales[g] * reach)) continue;
        return MalformedWeight(stored_, absl::StrFormat("the scale of row %d, group %d is %g, its zero %g: levels must "
                                                        "be finite",
                                                        row, g, scales[g], zeros[g]));
      }
    }
    return absl::OkStatus();
  }

  StoredWeight stored_;
  TwoLevelLayout layout_;
  TwoLevelTensors tensors_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<QuantizedWeight>> ReadTwoLevelWeight(StoredWeight stored) {
  return TwoLevelReader(std::move(stored)).Read();
}

}  // namespace quantd
