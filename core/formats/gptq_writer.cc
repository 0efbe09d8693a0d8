#include "core/formats/gptq_writer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/json.h"
#include "core/base/status.h"
#include "core/formats/gptq_check.h"
#include "core/formats/model_files.h"

namespace quantd {
namespace {

absl::Status CheckPlan(const GptqExport& plan) {
  for (const GptqModuleShape& shape : plan.settings.modules) RETURN_IF_ERROR(CheckGptqShape(shape));
  for (const TensorSpec& tensor : plan.dense) {
    if (IsFloat(tensor.dtype)) continue;
    return GptqCannotHold(tensor.name, absl::StrFormat("a dense %s tensor; loaders take integer tensors for packed "
                                                       "weights: remove it from the model",
                                                       DtypeName(tensor.dtype)));
  }
  return CheckGptqFusedSets(plan.settings.modules);
}

std::vector<TensorSpec> AllTensors(const GptqExport& plan) {
  std::vector<TensorSpec> tensors;
  for (const GptqModuleShape& shape : plan.settings.modules) {
    for (TensorSpec& spec : GptqTensorSpecs(shape)) tensors.push_back(std::move(spec));
  }
  tensors.insert(tensors.end(), plan.dense.begin(), plan.dense.end());
  return tensors;
}

bool SameShape(const GptqModuleShape& a, const GptqModuleShape& b) {
  return a.name == b.name && a.scheme == b.scheme && a.rows == b.rows && a.cols == b.cols;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GptqCheckpointWriter>> GptqCheckpointWriter::Create(FileSystem& files,
                                                                                   const std::string& folder,
                                                                                   GptqExport plan) {
  RETURN_IF_ERROR(CheckPlan(plan));
  RETURN_IF_ERROR(files.CreateDirectories(folder));
  auto writer = std::unique_ptr<GptqCheckpointWriter>(new GptqCheckpointWriter(files, folder, std::move(plan)));
  ASSIGN_OR_RETURN(writer->weights_, SafetensorsWriter::Create(files, JoinPath(folder, "model.safetensors"),
                                                               AllTensors(writer->plan_), {{"format", "pt"}}));
  return writer;
}

absl::Status GptqCheckpointWriter::AddModule(const GptqModule& module) {
  const std::vector<GptqModuleShape>& planned = plan_.settings.modules;
  if (next_module_ == planned.size() || !SameShape(planned[next_module_], module.shape)) {
    return absl::InternalError(absl::StrCat(folder_, ": module '", module.shape.name, "' is not the next of the plan"));
  }
  ++next_module_;
  ASSIGN_OR_RETURN(const std::vector<GptqTensor> tensors, PackGptqModule(module, plan_.settings.version));
  for (const GptqTensor& tensor : tensors) RETURN_IF_ERROR(weights_->Append(tensor.bytes));
  return absl::OkStatus();
}

absl::Status GptqCheckpointWriter::AddDense(absl::string_view bytes) {
  const bool in_order = next_module_ == plan_.settings.modules.size() && next_dense_ < plan_.dense.size();
  if (!in_order || bytes.size() != plan_.dense[next_dense_].size_bytes()) {
    return absl::InternalError(absl::StrFormat("%s: dense tensor %d out of order or of a wrong size (%d bytes)",
                                               folder_, next_dense_, bytes.size()));
  }
  ++next_dense_;
  return weights_->Append(bytes);
}

absl::Status GptqCheckpointWriter::Finish() {
  RETURN_IF_ERROR(weights_->Finish());
  RETURN_IF_ERROR(CopyModelFiles(files_, plan_.source_folder, folder_));
  ASSIGN_OR_RETURN(const Json source, ReadJsonFile(JoinPath(plan_.source_folder, "config.json")));
  const std::string config = JsonText(GptqModelConfig(source, plan_.settings));
  RETURN_IF_ERROR(WriteFileDurably(files_, JoinPath(folder_, "config.json"), config));
  const std::string scheme = JsonText(GptqQuantizationConfig(plan_.settings));
  return WriteFileDurably(files_, JoinPath(folder_, "quantize_config.json"), scheme);
}

}  // namespace quantd
