// What the readers of all grids do with the tensors of a file: take them by name, each checked before it is used.
// Everything is hostile; nothing here allocates more than the file holds.
#ifndef QUANTD_CORE_QUANT_STORED_TENSORS_H_
#define QUANTD_CORE_QUANT_STORED_TENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/quant/grid.h"

namespace quantd {

// Rows and columns go up to this: products of both and of a code's width stay within 64 bits.
inline constexpr int64_t kMaxWeightSide = int64_t{1} << 30;

// ARTIFACT_MALFORMED: names the weight and `problem`.
absl::Status MalformedWeight(const StoredWeight& stored, absl::string_view problem);

// Rows and columns within their bounds, and the description an object.
absl::Status CheckStoredShape(const StoredWeight& stored);

// Takes the bytes of a tensor out of `stored` and the tensor off its list. MalformedWeight unless it is there with
// exactly this dtype, shape and number of bytes.
absl::StatusOr<std::string> TakeTensor(StoredWeight& stored, absl::string_view suffix, Dtype dtype,
                                       const std::vector<int64_t>& shape);

// The same for [rows, bytes] of packed codes (bit_stream.h), `count` of them a row: spare bits must be zero, so that
// equal weights have equal bytes.
absl::StatusOr<std::vector<uint8_t>> TakeCodes(StoredWeight& stored, absl::string_view suffix, int64_t rows,
                                               int64_t count, int bits);

// Tensor "group_index", I32 [cols]: each column's group, 0..groups-1.
absl::StatusOr<std::vector<int32_t>> TakeGroupIndex(StoredWeight& stored, int64_t cols, int64_t groups);

// A tensor that the description does not call for would be left out of decoding: better to refuse than to guess.
absl::Status CheckNothingIsLeft(const StoredWeight& stored);

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_STORED_TENSORS_H_
