// The GPTQ export of an artifact: written from its packed codes, read back by the independent decoder, and compared
// with what the artifact decodes to, bit for bit.
#ifndef QUANTD_CORE_PIPELINE_EXPORT_GPTQ_H_
#define QUANTD_CORE_PIPELINE_EXPORT_GPTQ_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/file_system.h"
#include "core/formats/load_certificate.h"
#include "core/quant/artifact_weights.h"
#include "core/quant/recipe.h"

namespace quantd {

// What sizes and recipe decide before any work. EXPORT_TARGET_CANNOT_HOLD.
absl::Status CheckGptqExport(absl::Span<const SitePlan> plans);

// Writes `folder` (created). `source_folder` is the original model. EXPORT_TARGET_CANNOT_HOLD; EXPORT_DIFFERS when the
// decoder reads other weights than the artifact holds (then the export must not be published).
absl::StatusOr<LoadCertificate> ExportGptq(FileSystem& files, const ArtifactWeights& artifact,
                                           absl::Span<const SitePlan> plans, const std::string& source_folder,
                                           const std::string& folder);

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_EXPORT_GPTQ_H_
