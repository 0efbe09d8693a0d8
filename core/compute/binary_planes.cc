#include "core/compute/binary_planes.h"

#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/checked.h"
#include "core/base/status.h"

namespace quantd {
namespace {

// Kernels read whole registers: room behind the last array.
constexpr uint64_t kAlignment = 64;

absl::Status Unsupported(const std::string& why) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "PLANES_UNSUPPORTED",
                     absl::StrCat("the weight cannot be multiplied as bit planes: ", why));
}

bool IsPermutation(absl::Span<const int32_t> order, int64_t count) {
  std::vector<bool> seen(static_cast<size_t>(count));
  for (const int32_t column : order) {
    if (column < 0 || column >= count || seen[column]) return false;
    seen[column] = true;
  }
  return static_cast<int64_t>(order.size()) == count;
}

absl::Status CheckLayout(const PlanesLayout& layout) {
  if (layout.rows <= 0 || layout.cols <= 0 || layout.planes < 1 || layout.planes > kMaxPlanes) {
    return Unsupported(
        absl::StrFormat("%d rows, %d columns, %d planes (1..%d)", layout.rows, layout.cols, layout.planes, kMaxPlanes));
  }
  const bool lines = layout.group_size > 0 && layout.group_size % kPlaneInputs == 0;
  if (!lines && layout.group_size < layout.cols) {
    return Unsupported(absl::StrFormat("a group of %d inputs is no multiple of %d", layout.group_size, kPlaneInputs));
  }
  if (layout.scale_dtype != Dtype::kF16 && layout.scale_dtype != Dtype::kF32) {
    return Unsupported(absl::StrCat("scales in ", DtypeName(layout.scale_dtype)));
  }
  const int64_t sum = std::accumulate(layout.shared_steps.begin(), layout.shared_steps.end(), int64_t{0});
  const bool steps = layout.shared_steps.empty() || (layout.shared_steps.size() == static_cast<size_t>(layout.planes) &&
                                                     layout.scaling == PlaneScaling::kIntegers && sum <= 255);
  if (!steps) return Unsupported("shared steps are not one a plane with a sum of at most 255");
  if (!layout.column_order.empty() && !IsPermutation(layout.column_order, layout.cols)) {
    return Unsupported("the order of columns is no permutation");
  }
  return absl::OkStatus();
}

template <typename T>
void* Mutable(const T* from) {
  return const_cast<void*>(static_cast<const void*>(from));
}

// Bit `plane` of every code of a line. The product moves the lowest bits of eight bytes side by side into the top byte.
uint32_t PlaneWord(const uint8_t* codes, int plane) {
  uint32_t word = 0;
  for (int eight = 0; eight < kPlaneInputs / 8; ++eight) {
    uint64_t bytes;
    std::memcpy(&bytes, codes + eight * 8, sizeof(bytes));
    const uint64_t bits = (bytes >> plane & 0x0101010101010101) * 0x0102040810204080 >> 56;
    word |= static_cast<uint32_t>(bits) << (eight * 8);
  }
  return word;
}

void StoreScale(bool wide, float value, const void* into, int64_t index) {
  if (wide) {
    static_cast<float*>(Mutable(into))[index] = value;
  } else {
    static_cast<uint16_t*>(Mutable(into))[index] = F32ToF16(value);
  }
}

void StoreBase(bool wide, int16_t value, const void* into, int64_t index) {
  if (wide) {
    static_cast<int16_t*>(Mutable(into))[index] = value;
  } else {
    static_cast<int8_t*>(Mutable(into))[index] = static_cast<int8_t>(value);
  }
}

}  // namespace

int64_t PlanesLayout::groups() const {
  return group_size >= cols ? 1 : CeilDiv(cols, group_size);
}

BinaryPlanes::BinaryPlanes(PlanesLayout layout) : layout_(std::move(layout)) {
  PlaneArrays& a = arrays_;
  a.rows = layout_.rows;
  a.blocks = CeilDiv(layout_.rows, kPlaneRows);
  a.lines = CeilDiv(layout_.cols, kPlaneInputs);
  a.groups = layout_.groups();
  a.group_lines = a.groups == 1 ? a.lines : layout_.group_size / kPlaneInputs;
  a.planes = layout_.planes;
  a.signs = layout_.scaling == PlaneScaling::kSigns;
  a.wide_scales = layout_.scale_dtype == Dtype::kF32;
  a.wide_bases = layout_.wide_bases;
  std::copy(layout_.shared_steps.begin(), layout_.shared_steps.end(), a.shared_steps);

  const uint64_t cells = static_cast<uint64_t>(a.blocks) * a.groups * kPlaneRows;
  const uint64_t scale_bytes = a.wide_scales ? 4 : 2;
  const bool own_steps = !a.signs && layout_.shared_steps.empty();
  const uint64_t sizes[] = {
      static_cast<uint64_t>(a.blocks) * a.lines * a.planes * kPlaneRows * sizeof(uint32_t),
      cells * scale_bytes,
      a.signs ? cells * a.planes * scale_bytes : 0,
      a.signs ? 0 : cells * (a.wide_bases ? 2 : 1),
      own_steps ? cells * a.planes : 0,
  };
  uint64_t offsets[std::size(sizes)];
  for (size_t i = 0; i < std::size(sizes); ++i) {
    offsets[i] = memory_bytes_;
    memory_bytes_ += RoundUp(static_cast<int64_t>(sizes[i]), kAlignment);
  }
  memory_ = AllocateZeroedArray<char>(memory_bytes_ + kAlignment);
  const auto at = [&](int array) -> const void* { return memory_.get() + offsets[array]; };
  a.bits = static_cast<const uint32_t*>(at(0));
  a.scales = at(1);
  a.alphas = a.signs ? at(2) : nullptr;
  a.bases = a.signs ? nullptr : at(3);
  a.steps = own_steps ? static_cast<const uint8_t*>(at(4)) : nullptr;
}

uint64_t BinaryPlanes::resident_bytes() const {
  return memory_bytes_ + layout_.column_order.size() * sizeof(int32_t);
}

void BinaryPlanes::DecodeRows(Isa isa, int64_t first_row, MutableMatrixView out) const {
  const PlaneKernels& kernels = PlaneKernelsFor(isa);
  std::vector<float> values(static_cast<size_t>(arrays_.lines * kPlaneInputs));
  for (int64_t r = 0; r < out.rows; ++r) {
    kernels.decode_row(arrays_, first_row + r, values.data());
    float* to = out.row(r);
    if (layout_.column_order.empty()) {
      std::copy_n(values.data(), layout_.cols, to);
    } else {
      for (int64_t i = 0; i < layout_.cols; ++i) to[layout_.column_order[i]] = values[i];
    }
  }
}

absl::StatusOr<BinaryPlanesBuilder> BinaryPlanesBuilder::Create(PlanesLayout layout) {
  RETURN_IF_ERROR(CheckLayout(layout));
  return BinaryPlanesBuilder(BinaryPlanes(std::move(layout)));
}

BinaryPlanesBuilder::BinaryPlanesBuilder(BinaryPlanes weight) : weight_(std::move(weight)) {}

void BinaryPlanesBuilder::SetRow(int64_t row, const PlaneRow& values) {
  SetCodes(row, values.codes);
  SetScaling(row, values);
}

void BinaryPlanesBuilder::SetCodes(int64_t row, absl::Span<const uint8_t> codes) {
  const PlaneArrays& a = weight_.arrays_;
  const std::vector<int32_t>& order = weight_.layout_.column_order;
  uint32_t* const bits = static_cast<uint32_t*>(Mutable(a.bits)) + row % kPlaneRows;
  const int64_t cols = weight_.cols();
  PlaneSpan span;
  for (int64_t line = 0; line < a.lines; ++line) {
    if (line == span.first + span.lines) span = SpanAt(a, line);
    uint8_t of_line[kPlaneInputs] = {};
    const int64_t first = line * kPlaneInputs;
    const int64_t count = std::min(kPlaneInputs, cols - first);
    for (int64_t k = 0; k < count; ++k) of_line[k] = codes[order.empty() ? first + k : order[first + k]];
    uint32_t* const into = bits + a.LineOffset(row / kPlaneRows, line, span.first, span.lines);
    for (int plane = 0; plane < a.planes; ++plane) into[plane * kPlaneRows] = PlaneWord(of_line, plane);
  }
}

void BinaryPlanesBuilder::SetScaling(int64_t row, const PlaneRow& values) {
  const PlaneArrays& a = weight_.arrays_;
  for (int64_t g = 0; g < a.groups; ++g) {
    const int64_t cell = row / kPlaneRows * a.groups + g;
    const int64_t lane = row % kPlaneRows;
    StoreScale(a.wide_scales, a.signs ? values.offsets[g] : values.scales[g], a.scales, cell * kPlaneRows + lane);
    if (!a.signs) StoreBase(a.wide_bases, values.bases[g], a.bases, cell * kPlaneRows + lane);
    for (int plane = 0; plane < a.planes; ++plane) {
      const int64_t index = (cell * a.planes + plane) * kPlaneRows + lane;
      if (a.signs) StoreScale(a.wide_scales, values.alphas[g * a.planes + plane], a.alphas, index);
      if (a.steps != nullptr) static_cast<uint8_t*>(Mutable(a.steps))[index] = values.steps[g * a.planes + plane];
    }
  }
}

BinaryPlanes BinaryPlanesBuilder::Build() && {
  return std::move(weight_);
}

}  // namespace quantd
