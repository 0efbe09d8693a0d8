// Writes a GPTQ checkpoint folder as a stream: memory holds one module's tensors.
//
//   GptqExport plan{.source_folder = ..., .settings = ..., .dense = ...};
//   ASSIGN_OR_RETURN(auto writer, GptqCheckpointWriter::Create(files, folder, plan));
//   for each of plan.settings.modules, in order: RETURN_IF_ERROR(writer->AddModule(module));
//   for each of plan.dense, in order:            RETURN_IF_ERROR(writer->AddDense(bytes));
//   RETURN_IF_ERROR(writer->Finish());
//
// The folder then holds model.safetensors, config.json, quantize_config.json and the source's tokenizer and licence
// files. Its bytes depend on the plan and the data alone. After an error the folder is to be removed by the caller.
#ifndef QUANTD_CORE_FORMATS_GPTQ_WRITER_H_
#define QUANTD_CORE_FORMATS_GPTQ_WRITER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/file_system.h"
#include "core/formats/gptq_checkpoint.h"
#include "core/formats/gptq_config.h"
#include "core/formats/safetensors.h"

namespace quantd {

struct GptqExport {
  std::string source_folder;  // the original model: config.json and the files copied through
  GptqSettings settings;
  std::vector<TensorSpec> dense;  // tensors kept as they are: embeddings, norms, biases, head
};

// One thread at a time.
class GptqCheckpointWriter {
 public:
  // Refuses at once, before a byte is written, what sizes decide: shapes, fused sets, dense integer tensors (loaders
  // would take them for packed weights). EXPORT_TARGET_CANNOT_HOLD.
  static absl::StatusOr<std::unique_ptr<GptqCheckpointWriter>> Create(FileSystem& files, const std::string& folder,
                                                                      GptqExport plan);

  // The next module of the plan; its shape must be the planned one.
  absl::Status AddModule(const GptqModule& module);
  // The whole of the next dense tensor.
  absl::Status AddDense(absl::string_view bytes);
  absl::Status Finish();

 private:
  GptqCheckpointWriter(FileSystem& files, std::string folder, GptqExport plan)
      : files_(files), folder_(std::move(folder)), plan_(std::move(plan)) {}

  FileSystem& files_;
  std::string folder_;
  GptqExport plan_;
  std::unique_ptr<SafetensorsWriter> weights_;
  size_t next_module_ = 0;
  size_t next_dense_ = 0;
};

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_GPTQ_WRITER_H_
