// The GPTQ checkpoint layout: schemes, legality and bytes of one module. docs/formats/gptq.md has the layout.
//
//   for each module: RETURN_IF_ERROR(CheckGptqShape(shape));              // at plan time: nothing but sizes
//   version = the highest RequiredGptqVersion(zeros) of all modules      // one version for the whole checkpoint
//   ASSIGN_OR_RETURN(auto tensors, PackGptqModule(module, version));      // in the order of GptqTensorSpecs
//
// Pure functions, thread-safe. What the layout cannot hold is refused with EXPORT_TARGET_CANNOT_HOLD; the message names
// the module, the rule and the remedy. The reader in gptq_reader.h shares no code with this packer, on purpose.
#ifndef QUANTD_CORE_FORMATS_GPTQ_CHECKPOINT_H_
#define QUANTD_CORE_FORMATS_GPTQ_CHECKPOINT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/formats/safetensors.h"

namespace quantd {

// How zeros are stored: v1 holds zero - 1 and so cannot hold 0; v2 holds the zero itself.
enum class GptqVersion { kV1, kV2 };

struct GptqScheme {
  int bits = 4;              // 2, 3, 4 or 8
  int64_t group_size = 128;  // inputs of a group; -1: one group for the whole row
  bool symmetric = false;    // every zero is 2^(bits-1)
  bool act_order = false;    // groups are not runs of neighbouring inputs

  friend bool operator==(const GptqScheme&, const GptqScheme&) = default;
};

// One linear, weight [rows, cols] = [outputs, inputs].
struct GptqModuleShape {
  std::string name;  // checkpoint spelling without ".weight": "model.layers.0.mlp.up_proj"
  GptqScheme scheme;
  int64_t rows = 0;
  int64_t cols = 0;
  std::string fused_set;  // consumers fuse modules of one set (q/k/v, gate/up); empty: none

  int64_t groups() const { return scheme.group_size > 0 ? cols / scheme.group_size : 1; }
};

// value[r, c] = scales[r, g(c)] * (codes[r, c] - zeros[r, g(c)]).
struct GptqModule {
  GptqModuleShape shape;
  absl::Span<const uint8_t> codes;        // [rows, cols], 0..2^bits-1
  absl::Span<const float> scales;         // [rows, groups], finite, >= 0, exact in f16
  absl::Span<const uint8_t> zeros;        // [rows, groups], 0..2^bits-1
  absl::Span<const int32_t> group_index;  // [cols], 0..groups-1; empty: c / group_size
};

struct GptqTensor {
  TensorSpec spec;  // full name: "<module>.qweight"
  std::string bytes;
};

// Everything that sizes decide: bits, group size dividing the inputs, inputs and outputs filling whole words.
absl::Status CheckGptqShape(const GptqModuleShape& shape);

// Modules of one fused set must share their scheme.
absl::Status CheckGptqFusedSets(absl::Span<const GptqModuleShape> shapes);

// qweight, qzeros, g_idx, scales. The shape must have passed CheckGptqShape.
std::vector<TensorSpec> GptqTensorSpecs(const GptqModuleShape& shape);

// kV1 when it can hold these zeros, which older loaders understand; else kV2.
GptqVersion RequiredGptqVersion(absl::Span<const uint8_t> zeros);

// The tensors of GptqTensorSpecs with their bytes. Checks shape, span lengths and every value first.
absl::StatusOr<std::vector<GptqTensor>> PackGptqModule(const GptqModule& module, GptqVersion version);

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_GPTQ_CHECKPOINT_H_
