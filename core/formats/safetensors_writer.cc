#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/checked.h"
#include "core/base/json.h"
#include "core/base/status.h"
#include "core/formats/safetensors.h"

namespace quantd {
namespace {

absl::Status BadPlan(const std::string& path, const TensorSpec& tensor, absl::string_view why) {
  return absl::InternalError(absl::StrFormat("%s: tensor '%s' cannot be written: %s", path, tensor.name, why));
}

absl::StatusOr<uint64_t> PlannedBytes(const std::string& path, const TensorSpec& tensor) {
  uint64_t bytes = static_cast<uint64_t>(DtypeBytes(tensor.dtype));
  for (const int64_t dimension : tensor.shape) {
    if (dimension < 0) return BadPlan(path, tensor, "a dimension is negative");
    const auto product = CheckedMultiply(bytes, static_cast<uint64_t>(dimension));
    if (!product.has_value()) return BadPlan(path, tensor, "its size overflows");
    bytes = *product;
  }
  return bytes;
}

// Bytes of all tensors.
absl::StatusOr<uint64_t> CheckPlan(const std::string& path, const std::vector<TensorSpec>& tensors) {
  std::set<absl::string_view> names;
  uint64_t total = 0;
  for (const TensorSpec& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == "__metadata__" || !names.insert(tensor.name).second) {
      return BadPlan(path, tensor, "its name is empty, reserved or used twice");
    }
    ASSIGN_OR_RETURN(const uint64_t bytes, PlannedBytes(path, tensor));
    const auto sum = CheckedAdd(total, bytes);
    if (!sum.has_value() || *sum > static_cast<uint64_t>(INT64_MAX)) return BadPlan(path, tensor, "the file overflows");
    total = *sum;
  }
  return total;
}

std::string Compact(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// JSON header in the order of `tensors`, padded with spaces so that the data section begins at a multiple of 8.
std::string HeaderText(const std::vector<TensorSpec>& tensors, const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) absl::StrAppend(&text, R"("__metadata__":)", Compact(metadata));
  uint64_t position = 0;
  for (const TensorSpec& tensor : tensors) {
    const uint64_t end = position + tensor.size_bytes();
    const Json record = {{"dtype", std::string(DtypeName(tensor.dtype))},
                         {"shape", Json(tensor.shape)},
                         {"data_offsets", {position, end}}};
    absl::StrAppend(&text, text.size() > 1 ? "," : "", Compact(tensor.name), ":", Compact(record));
    position = end;
  }
  text += '}';
  text.resize(static_cast<size_t>(RoundUp(static_cast<int64_t>(text.size()), 8)), ' ');
  return text;
}

}  // namespace

uint64_t TensorSpec::size_bytes() const {
  uint64_t bytes = static_cast<uint64_t>(DtypeBytes(dtype));
  for (const int64_t dimension : shape) bytes *= static_cast<uint64_t>(dimension);
  return bytes;
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    FileSystem& files, const std::string& path, const std::vector<TensorSpec>& tensors,
    const std::map<std::string, std::string>& metadata) {
  auto writer = std::unique_ptr<SafetensorsWriter>(new SafetensorsWriter);
  writer->path_ = path;
  ASSIGN_OR_RETURN(writer->expected_bytes_, CheckPlan(path, tensors));
  const std::string header = HeaderText(tensors, metadata);
  const uint64_t length = header.size();
  if (length > kMaxSafetensorsHeaderBytes) {
    return absl::InternalError(
        absl::StrFormat("%s: a header of %d bytes; the limit is %d", path, length, kMaxSafetensorsHeaderBytes));
  }
  ASSIGN_OR_RETURN(writer->file_, files.OpenForWrite(path));
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
