#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/formats/safetensors.h"

namespace quantd {
namespace {

// JSON header in the order of `tensors`, padded with spaces so that the data section begins at a multiple of 8.
std::string HeaderText(const std::vector<TensorSpec>& tensors, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t position = 0;
  for (const TensorSpec& tensor : tensors) {
    const uint64_t end = position + tensor.size_bytes();
    header[tensor.name] = {
        {"dtype", std::string(DtypeName(tensor.dtype))}, {"shape", tensor.shape}, {"data_offsets", {position, end}}};
    position = end;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    FileSystem& files, const std::string& path, std::vector<TensorSpec> tensors,
    const std::map<std::string, std::string>& metadata) {
  auto writer = std::unique_ptr<SafetensorsWriter>(new SafetensorsWriter);
  writer->path_ = path;
  for (const TensorSpec& tensor : tensors) writer->expected_bytes_ += tensor.size_bytes();
  ASSIGN_OR_RETURN(writer->file_, files.OpenForWrite(path));
  const std::string header = HeaderText(tensors, metadata);
  const uint64_t length = header.size();
  RETURN_IF_ERROR(writer->file_->Append({reinterpret_cast<const char*>(&length), sizeof(length)}));
  RETURN_IF_ERROR(writer->file_->Append(header));
  return writer;
}

absl::Status SafetensorsWriter::Append(absl::string_view bytes) {
  if (bytes.size() > expected_bytes_ - written_bytes_) {
    return absl::InternalError(absl::StrFormat("%s: more data than the header announces", path_));
  }
  written_bytes_ += bytes.size();
  return file_->Append(bytes);
}

absl::Status SafetensorsWriter::Finish() {
  if (written_bytes_ != expected_bytes_) {
    return absl::InternalError(
        absl::StrFormat("%s: %d data bytes written, the header announces %d", path_, written_bytes_, expected_bytes_));
  }
  RETURN_IF_ERROR(file_->Sync());
  return file_->Close();
}

}  // namespace quantd
