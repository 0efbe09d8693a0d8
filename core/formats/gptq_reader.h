// Reads a GPTQ checkpoint folder back to f32: the independent decoder that an export is compared with before it is
// published, and the way to evaluate such a folder.
//
// It works on the bit stream as documented and shares no code with the packer. The folder is hostile input: every
// tensor's dtype, shape and value is checked; nothing is allocated by a claimed size.
// Reasons beside those of OpenCheckpoint: GPTQ_CONFIG_INVALID, GPTQ_MODULE_INVALID (names the module and the rule),
// GPTQ_ZERO_AMBIGUOUS (a version 1 zero that reads as 2^bits: a wrapped 0).
#ifndef QUANTD_CORE_FORMATS_GPTQ_READER_H_
#define QUANTD_CORE_FORMATS_GPTQ_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/formats/weight_source.h"

namespace quantd {

// Immutable after Open; thread-safe.
class GptqReader {
 public:
  struct Module {
    int bits = 0;
    bool zeros_minus_one = false;  // version 1
    int64_t rows = 0;              // outputs
    int64_t cols = 0;              // inputs
    int64_t groups = 0;
    absl::Span<const char> qweight, qzeros, scales;  // as stored, any alignment
    Dtype scale_dtype = Dtype::kF16;
    std::vector<int32_t> group_index;  // [cols]
  };

  // Reads config.json and the tensors' headers, group indices and zeros; weights only when asked for.
  static absl::StatusOr<std::unique_ptr<GptqReader>> Open(const std::string& folder);

  // All tensors of the folder, packed ones included.
  const WeightSource& tensors() const { return *source_; }
  const std::map<std::string, Module>& modules() const { return modules_; }

  // Rows [first_row, first_row + rows) of `module` as f32 [rows, cols]. TENSOR_MISSING for an unknown module.
  absl::Status ReadRows(absl::string_view module, int64_t first_row, int64_t rows, absl::Span<float> out) const;

 private:
  explicit GptqReader(std::unique_ptr<WeightSource> source) : source_(std::move(source)) {}

  std::unique_ptr<WeightSource> source_;
  std::map<std::string, Module> modules_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_GPTQ_READER_H_
