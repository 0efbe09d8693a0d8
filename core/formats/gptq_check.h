// What the GPTQ layout cannot hold. Internal to the exporter; see gptq_checkpoint.h.
#ifndef QUANTD_CORE_FORMATS_GPTQ_CHECK_H_
#define QUANTD_CORE_FORMATS_GPTQ_CHECK_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/formats/gptq_checkpoint.h"

namespace quantd {

// EXPORT_TARGET_CANNOT_HOLD: "<name>: <rule>; <remedy>".
absl::Status GptqCannotHold(absl::string_view name, absl::string_view rule_and_remedy);

inline int64_t GptqGroupOfColumn(const GptqModule& module, int64_t column) {
  if (!module.group_index.empty()) return module.group_index[column];
  return module.shape.scheme.group_size > 0 ? column / module.shape.scheme.group_size : 0;
}

// Span lengths, codes, zeros, scales and group index against the shape and the version. The shape is legal.
absl::Status CheckGptqValues(const GptqModule& module, GptqVersion version);

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_GPTQ_CHECK_H_
