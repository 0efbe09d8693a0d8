#include "core/formats/gptq_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/formats/gptq_check.h"

namespace quantd {
namespace {

constexpr int kWordBits = 32;
constexpr int kMaxUnitCodes = 32;
constexpr int kMaxUnitWords = 3;

// A unit is the shortest run of codes that fills whole words: 32 codes in three words at 3 bits, else one word.
struct PackingUnit {
  int codes;
  int words;
};

PackingUnit UnitOf(int bits) {
  return bits == 3 ? PackingUnit{.codes = 32, .words = 3} : PackingUnit{.codes = kWordBits / bits, .words = 1};
}

// 3 bits: codes 10 and 21 lie across two words, all others inside one.
void PackThreeBitUnit(const uint32_t* codes, uint32_t* words) {
  words[0] = codes[10] << 30;
  words[1] = codes[10] >> 2 | codes[21] << 31;
  words[2] = codes[21] >> 1;
  for (int i = 0; i < 10; ++i) {
    words[0] |= codes[i] << (3 * i);
    words[1] |= codes[11 + i] << (3 * i + 1);
    words[2] |= codes[22 + i] << (3 * i + 2);
  }
}

void PackUnit(int bits, const uint32_t* codes, uint32_t* words) {
  if (bits == 3) return PackThreeBitUnit(codes, words);
  words[0] = 0;
  for (int i = 0; i < kWordBits / bits; ++i) words[0] |= codes[i] << (bits * i);
}

void StoreWord(std::string& bytes, int64_t index, uint32_t word) {
  std::memcpy(bytes.data() + 4 * index, &word, sizeof(word));
}

// [cols * bits / 32, rows]: the words of one row of codes lie one below the other.
std::string PackQweight(const GptqModule& module) {
  const int64_t rows = module.shape.rows;
  const int64_t cols = module.shape.cols;
  const int bits = module.shape.scheme.bits;
  const PackingUnit unit = UnitOf(bits);
  std::string bytes(static_cast<size_t>(rows * cols * bits / 8), '\0');
  for (int64_t u = 0; u < cols / unit.codes; ++u) {
    for (int64_t r = 0; r < rows; ++r) {
      uint32_t codes[kMaxUnitCodes];
      uint32_t words[kMaxUnitWords];
      std::copy_n(module.codes.data() + r * cols + u * unit.codes, unit.codes, codes);
      PackUnit(bits, codes, words);
      for (int w = 0; w < unit.words; ++w) StoreWord(bytes, (u * unit.words + w) * rows + r, words[w]);
    }
  }
  return bytes;
}

// [groups, rows * bits / 32]: packed along outputs.
std::string PackQzeros(const GptqModule& module, GptqVersion version) {
  const int64_t rows = module.shape.rows;
  const int64_t groups = module.shape.groups();
  const int bits = module.shape.scheme.bits;
  const PackingUnit unit = UnitOf(bits);
  const int64_t row_words = rows * bits / kWordBits;
  const uint32_t offset = version == GptqVersion::kV1 ? 1 : 0;
  std::string bytes(static_cast<size_t>(groups * row_words * 4), '\0');
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t u = 0; u < rows / unit.codes; ++u) {
      uint32_t codes[kMaxUnitCodes];
      uint32_t words[kMaxUnitWords];
      for (int i = 0; i < unit.codes; ++i) codes[i] = module.zeros[(u * unit.codes + i) * groups + g] - offset;
      PackUnit(bits, codes, words);
      for (int w = 0; w < unit.words; ++w) StoreWord(bytes, g * row_words + u * unit.words + w, words[w]);
    }
  }
  return bytes;
}

std::string GroupIndexBytes(const GptqModule& module) {
  const int64_t cols = module.shape.cols;
  std::string bytes(static_cast<size_t>(4 * cols), '\0');
  for (int64_t c = 0; c < cols; ++c) StoreWord(bytes, c, static_cast<uint32_t>(GptqGroupOfColumn(module, c)));
  return bytes;
}

// [groups, rows] f16: transposed.
std::string ScaleBytes(const GptqModule& module) {
  const int64_t rows = module.shape.rows;
  const int64_t groups = module.shape.groups();
  std::string bytes(static_cast<size_t>(2 * rows * groups), '\0');
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t r = 0; r < rows; ++r) {
      const uint16_t half = F32ToF16(module.scales[r * groups + g]);
      std::memcpy(bytes.data() + 2 * (g * rows + r), &half, sizeof(half));
    }
  }
  return bytes;
}

}  // namespace

std::vector<TensorSpec> GptqTensorSpecs(const GptqModuleShape& shape) {
  const int64_t bits = shape.scheme.bits;
  const int64_t groups = shape.groups();
  return {
      {absl::StrCat(shape.name, ".qweight"), Dtype::kI32, {shape.cols * bits / kWordBits, shape.rows}},
      {absl::StrCat(shape.name, ".qzeros"), Dtype::kI32, {groups, shape.rows * bits / kWordBits}},
      {absl::StrCat(shape.name, ".g_idx"), Dtype::kI32, {shape.cols}},
      {absl::StrCat(shape.name, ".scales"), Dtype::kF16, {groups, shape.rows}},
  };
}

GptqVersion RequiredGptqVersion(absl::Span<const uint8_t> zeros) {
  return std::find(zeros.begin(), zeros.end(), 0) == zeros.end() ? GptqVersion::kV1 : GptqVersion::kV2;
}

absl::StatusOr<std::vector<GptqTensor>> PackGptqModule(const GptqModule& module, GptqVersion version) {
  RETURN_IF_ERROR(CheckGptqShape(module.shape));
  RETURN_IF_ERROR(CheckGptqValues(module, version));
  std::string bytes[] = {PackQweight(module), PackQzeros(module, version), GroupIndexBytes(module), ScaleBytes(module)};
  std::vector<TensorSpec> specs = GptqTensorSpecs(module.shape);
  std::vector<GptqTensor> tensors;
  for (size_t i = 0; i < specs.size(); ++i) tensors.push_back({std::move(specs[i]), std::move(bytes[i])});
  return tensors;
}

}  // namespace quantd
