#include "core/formats/gptq_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"
#include "core/formats/checkpoint.h"
#include "core/formats/gptq_reader_config.h"

namespace quantd {
namespace {

using Module = GptqReader::Module;

constexpr int64_t kMaxSize = int64_t{1} << 24;  // inputs or outputs of one module
constexpr int64_t kRowBlock = 16;               // rows decoded together: one cache line of qweight

absl::Status Invalid(const std::string& module, absl::string_view why) {
  return InvalidInput("GPTQ_MODULE_INVALID", absl::StrCat("gptq module '", module, "': ", why));
}

uint32_t WordAt(absl::Span<const char> words, int64_t index) {
  uint32_t word;
  std::memcpy(&word, words.data() + 4 * index, sizeof(word));
  return word;
}

// A little-endian stream of fixed-width codes laid over 32-bit words that lie `stride` words apart.
struct CodeStream {
  absl::Span<const char> words;
  int64_t first_word;
  int64_t stride;
  int bits;

  uint32_t At(int64_t index) const {
    const int64_t position = index * bits;
    const int64_t word = first_word + position / 32 * stride;
    uint64_t window = WordAt(words, word);
    if (position % 32 + bits > 32) window |= static_cast<uint64_t>(WordAt(words, word + stride)) << 32;
    return static_cast<uint32_t>(window >> (position % 32)) & ((1u << bits) - 1);
  }
};

CodeStream ZerosOfGroup(const Module& module, int64_t group) {
  return {module.qzeros, group * (module.rows * module.bits / 32), 1, module.bits};
}

float ZeroAt(const Module& module, int64_t group, int64_t row) {
  return static_cast<float>(ZerosOfGroup(module, group).At(row) + (module.zeros_minus_one ? 1 : 0));
}

float ScaleAt(const Module& module, int64_t group, int64_t row) {
  float scale;
  const int64_t index = group * module.rows + row;
  WidenToF32(module.scale_dtype, module.scales.data() + index * DtypeBytes(module.scale_dtype), {&scale, 1});
  return scale;
}

// One tensor of a module, its dtype and shape checked.
absl::StatusOr<absl::Span<const char>> Part(const WeightSource& source, const std::string& module, const char* suffix,
                                            const std::vector<int64_t>& expected) {
  const std::string name = absl::StrCat(module, ".", suffix);
  if (!source.Has(name)) return Invalid(module, absl::StrCat("tensor '", suffix, "' is missing"));
  ASSIGN_OR_RETURN(const Dtype dtype, source.StoredDtype(name));
  const bool is_scales = absl::string_view(suffix) == "scales";
  if (is_scales ? !IsFloat(dtype) : dtype != Dtype::kI32) {
    return Invalid(module,
                   absl::StrFormat("'%s' is %s, not %s", suffix, DtypeName(dtype), is_scales ? "a float" : "I32"));
  }
  ASSIGN_OR_RETURN(const std::vector<int64_t> shape, source.Shape(name));
  if (shape != expected)
    return Invalid(module, absl::StrFormat("'%s' has a shape that does not fit the others", suffix));
  return source.StoredTensorBytes(name);
}

// Inputs from g_idx, outputs from qweight; everything else must follow from these two and the scheme.
absl::Status ReadSizes(const WeightSource& source, const std::string& name, const GptqReaderScheme& scheme,
                       Module& module) {
  if (!source.Has(name + ".g_idx")) return Invalid(name, "tensor 'g_idx' is missing");
  ASSIGN_OR_RETURN(const std::vector<int64_t> index_shape, source.Shape(name + ".g_idx"));
  ASSIGN_OR_RETURN(const std::vector<int64_t> weight_shape, source.Shape(name + ".qweight"));
  if (index_shape.size() != 1 || weight_shape.size() != 2) return Invalid(name, "g_idx is a vector, qweight a matrix");
  module.bits = static_cast<int>(scheme.bits);
  module.cols = index_shape[0];
  module.rows = weight_shape[1];
  const int64_t unit = module.bits == 3 ? 32 : 32 / module.bits;
  for (const int64_t size : {module.rows, module.cols}) {
    if (size < 1 || size > kMaxSize || size % unit != 0) {
      return Invalid(name,
                     absl::StrFormat("size %d is not a multiple of %d from %d to %d", size, unit, unit, kMaxSize));
    }
  }
  const int64_t group_size = scheme.group_size == -1 ? module.cols : scheme.group_size;
  module.groups = (module.cols - 1) / group_size + 1;
  return absl::OkStatus();
}

absl::Status ReadGroupIndex(const std::string& name, const GptqReaderScheme& scheme, absl::Span<const char> bytes,
                            Module& module) {
  const int64_t group_size = scheme.group_size == -1 ? module.cols : scheme.group_size;
  module.group_index.resize(static_cast<size_t>(module.cols));
  for (int64_t c = 0; c < module.cols; ++c) {
    const auto group = static_cast<int32_t>(WordAt(bytes, c));
    if (group < 0 || group >= module.groups) {
      return Invalid(name, absl::StrFormat("g_idx[%d] is %d, there are %d groups", c, group, module.groups));
    }
    if (!scheme.act_order && group != c / group_size) {
      return Invalid(name,
                     absl::StrFormat("g_idx[%d] is %d, but without desc_act it must be %d", c, group, c / group_size));
    }
    module.group_index[c] = group;
  }
  return absl::OkStatus();
}

absl::Status CheckZerosAndScales(const std::string& name, const Module& module) {
  for (int64_t g = 0; g < module.groups; ++g) {
    for (int64_t r = 0; r < module.rows; ++r) {
      const float scale = ScaleAt(module, g, r);
      if (!std::isfinite(scale) || scale < 0) {
        return Invalid(
            name, absl::StrFormat("scale of row %d, group %d is %g; scales are finite and not negative", r, g, scale));
      }
      if (ZeroAt(module, g, r) >= static_cast<float>(1 << module.bits)) {
        return InvalidInput("GPTQ_ZERO_AMBIGUOUS",
                            absl::StrFormat("gptq module '%s': the zero of row %d, group %d reads as %d: a wrapped 0, "
                                            "which version 1 cannot hold; export the model as gptq_v2",
                                            name, r, g, 1 << module.bits));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Module> ReadModule(const WeightSource& source, const std::string& name, const GptqReaderConfig& config) {
  const GptqReaderScheme& scheme = config.SchemeOf(name);
  if (scheme.dense) return Invalid(name, "is packed, but the configuration says dense");
  Module module;
  module.zeros_minus_one = config.zeros_minus_one;
  RETURN_IF_ERROR(ReadSizes(source, name, scheme, module));
  const int64_t bits = module.bits;
  ASSIGN_OR_RETURN(module.qweight, Part(source, name, "qweight", {module.cols * bits / 32, module.rows}));
  ASSIGN_OR_RETURN(module.qzeros, Part(source, name, "qzeros", {module.groups, module.rows * bits / 32}));
  ASSIGN_OR_RETURN(module.scales, Part(source, name, "scales", {module.groups, module.rows}));
  ASSIGN_OR_RETURN(module.scale_dtype, source.StoredDtype(name + ".scales"));
  ASSIGN_OR_RETURN(const absl::Span<const char> index, Part(source, name, "g_idx", {module.cols}));
  RETURN_IF_ERROR(ReadGroupIndex(name, scheme, index, module));
  RETURN_IF_ERROR(CheckZerosAndScales(name, module));
  return module;
}

// Every tensor with a packed suffix belongs to a module that has a qweight.
absl::Status CheckOrphans(const WeightSource& source) {
  for (const std::string& name : source.Names()) {
    for (const absl::string_view suffix : {".qzeros", ".scales", ".g_idx"}) {
      absl::string_view module = name;
      if (!absl::ConsumeSuffix(&module, suffix) || source.Has(absl::StrCat(module, ".qweight"))) continue;
      return Invalid(std::string(module), absl::StrFormat("has '%s', but no qweight", suffix.substr(1)));
    }
  }
  return absl::OkStatus();
}

// Rows [first, first + count) of a module, count <= kRowBlock, to `out` [count, cols].
void DecodeRowBlock(const Module& module, int64_t first, int64_t count, float* out) {
  std::vector<float> scales(static_cast<size_t>(module.groups * count));
  std::vector<float> zeros(scales.size());
  for (int64_t g = 0; g < module.groups; ++g) {
    for (int64_t r = 0; r < count; ++r) {
      scales[g * count + r] = ScaleAt(module, g, first + r);
      zeros[g * count + r] = ZeroAt(module, g, first + r);
    }
  }
  for (int64_t c = 0; c < module.cols; ++c) {
    const int64_t g = module.group_index[c];
    for (int64_t r = 0; r < count; ++r) {
      const CodeStream codes{module.qweight, first + r, module.rows, module.bits};
      const float code = static_cast<float>(codes.At(c));
      out[r * module.cols + c] = scales[g * count + r] * (code - zeros[g * count + r]);
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<GptqReader>> GptqReader::Open(const std::string& folder) {
  ASSIGN_OR_RETURN(const GptqReaderConfig config, ReadGptqConfig(folder));
  ASSIGN_OR_RETURN(std::unique_ptr<WeightSource> source, OpenCheckpoint(folder));
  auto reader = std::unique_ptr<GptqReader>(new GptqReader(std::move(source)));
  for (const std::string& name : reader->source_->Names()) {
    absl::string_view module_name = name;
    if (!absl::ConsumeSuffix(&module_name, ".qweight")) continue;
    const std::string key(module_name);
    auto module = ReadModule(*reader->source_, key, config);
    if (!module.ok()) return WithContext(module.status(), folder);
    reader->modules_.emplace(key, *std::move(module));
  }
  if (reader->modules_.empty()) return InvalidInput("GPTQ_CONFIG_INVALID", folder + ": no tensor is packed");
  if (absl::Status status = CheckOrphans(*reader->source_); !status.ok()) return WithContext(status, folder);
  return reader;
}

absl::Status GptqReader::ReadRows(absl::string_view module, int64_t first_row, int64_t rows,
                                  absl::Span<float> out) const {
  const auto it = modules_.find(std::string(module));
  if (it == modules_.end()) {
    return InvalidInput("TENSOR_MISSING", absl::StrFormat("%s: no packed module '%s'", source_->path(), module));
  }
  const Module& found = it->second;
  const bool inside = first_row >= 0 && rows >= 0 && first_row <= found.rows && rows <= found.rows - first_row;
  if (!inside || out.size() != static_cast<size_t>(rows * found.cols)) {
    return InvalidInput("TENSOR_WRONG_SHAPE",
                        absl::StrFormat("%s: '%s' is %d x %d, wanted rows %d..%d", source_->path(), module, found.rows,
                                        found.cols, first_row, first_row + rows));
  }
  for (int64_t r = 0; r < rows; r += kRowBlock) {
    DecodeRowBlock(found, first_row + r, std::min(kRowBlock, rows - r), out.data() + r * found.cols);
  }
  return absl::OkStatus();
}

}  // namespace quantd
