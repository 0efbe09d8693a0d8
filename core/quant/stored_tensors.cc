#include "core/quant/stored_tensors.h"

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/checked.h"
#include "core/base/status.h"
#include "core/quant/bit_stream.h"

namespace quantd {
namespace {

// Nothing when a side is negative or 64 bits cannot hold the product.
std::optional<uint64_t> BytesOf(Dtype dtype, const std::vector<int64_t>& shape) {
  std::optional<uint64_t> bytes = static_cast<uint64_t>(DtypeBytes(dtype));
  for (int64_t side : shape) {
    bytes = side < 0 ? std::nullopt : CheckedMultiply(*bytes, static_cast<uint64_t>(side));
    if (!bytes.has_value()) break;
  }
  return bytes;
}

absl::Status CheckPadding(const StoredWeight& stored, absl::string_view suffix, const std::string& bytes, int64_t rows,
                          int64_t used_bits) {
  const int64_t row_bytes = CeilDiv(used_bits, 8);
  const int spare_bits = static_cast<int>(row_bytes * 8 - used_bits);
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t last = static_cast<uint8_t>(bytes[(r + 1) * row_bytes - 1]);
    if (last >> (8 - spare_bits) == 0) continue;
    return MalformedWeight(stored,
                           absl::StrFormat("tensor '%s' has bits set after the last code of row %d", suffix, r));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MalformedWeight(const StoredWeight& stored, absl::string_view problem) {
  return InvalidInput("ARTIFACT_MALFORMED",
                      absl::StrFormat("%s: %s; the artifact is damaged, fetch it again", stored.what, problem));
}

absl::Status CheckStoredShape(const StoredWeight& stored) {
  if (!stored.description.is_object()) return MalformedWeight(stored, "its description is not an object");
  const bool fits =
      stored.rows >= 1 && stored.rows <= kMaxWeightSide && stored.cols >= 1 && stored.cols <= kMaxWeightSide;
  if (fits) return absl::OkStatus();
  return MalformedWeight(stored, absl::StrFormat("shape [%d, %d] is outside 1..2^30", stored.rows, stored.cols));
}

absl::StatusOr<std::string> TakeTensor(StoredWeight& stored, absl::string_view suffix, Dtype dtype,
                                       const std::vector<int64_t>& shape) {
  const std::optional<uint64_t> bytes = BytesOf(dtype, shape);
  for (size_t i = 0; i < stored.tensors.size(); ++i) {
    const StoredTensor& tensor = stored.tensors[i];
    if (tensor.suffix != suffix) continue;
    if (!bytes.has_value() || tensor.dtype != dtype || tensor.shape != shape || tensor.bytes.size() != *bytes) {
      return MalformedWeight(stored, absl::StrFormat("tensor '%s' is %s [%s] of %d bytes, not %s [%s] of %d", suffix,
                                                     DtypeName(tensor.dtype), absl::StrJoin(tensor.shape, ", "),
                                                     tensor.bytes.size(), DtypeName(dtype), absl::StrJoin(shape, ", "),
                                                     bytes.value_or(std::numeric_limits<uint64_t>::max())));
    }
    std::string taken = std::move(stored.tensors[i].bytes);
    stored.tensors.erase(stored.tensors.begin() + static_cast<std::ptrdiff_t>(i));
    return taken;
  }
  return MalformedWeight(stored, absl::StrFormat("tensor '%s' is missing", suffix));
}

absl::StatusOr<std::vector<uint8_t>> TakeCodes(StoredWeight& stored, absl::string_view suffix, int64_t rows,
                                               int64_t count, int bits) {
  ASSIGN_OR_RETURN(const std::string bytes, TakeTensor(stored, suffix, Dtype::kU8, {rows, PackedBytes(count, bits)}));
  RETURN_IF_ERROR(CheckPadding(stored, suffix, bytes, rows, count * bits));
  return std::vector<uint8_t>(bytes.begin(), bytes.end());
}

absl::StatusOr<std::vector<int32_t>> TakeGroupIndex(StoredWeight& stored, int64_t cols, int64_t groups) {
  ASSIGN_OR_RETURN(const std::string bytes, TakeTensor(stored, "group_index", Dtype::kI32, {cols}));
  std::vector<int32_t> index(cols);
  std::memcpy(index.data(), bytes.data(), bytes.size());
  for (int64_t c = 0; c < cols; ++c) {
    if (index[c] >= 0 && index[c] < groups) continue;
    return MalformedWeight(
        stored, absl::StrFormat("tensor 'group_index' is %d at input %d; there are %d groups", index[c], c, groups));
  }
  return index;
}

absl::Status CheckNothingIsLeft(const StoredWeight& stored) {
  if (stored.tensors.empty()) return absl::OkStatus();
  return MalformedWeight(stored, absl::StrFormat("tensor '%s' does not belong to a weight of this description",
                                                 stored.tensors.front().suffix.substr(0, 64)));
}

}  // namespace quantd
