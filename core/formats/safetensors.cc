#include "core/formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/checked.h"
#include "core/base/json.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr size_t kMaxNameBytes = 1024;

// Element types of the format that no code here reads.
constexpr absl::string_view kUnreadDtypes[] = {"F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ",
                                               "C64",     "F4",      "F6_E2M3", "F6_E3M2"};

// A hostile shape may have millions of dimensions: messages show the first few.
std::string ShapeText(const std::vector<int64_t>& shape) {
  constexpr size_t kShown = 8;
  const bool cut = shape.size() > kShown;
  const auto shown = absl::MakeConstSpan(shape).first(cut ? kShown : shape.size());
  return absl::StrCat("[", absl::StrJoin(shown, ", "), cut ? ", ...]" : "]");
}

absl::Status Malformed(const std::string& path, absl::string_view why) {
  return InvalidInput("SAFETENSORS_HEADER_MALFORMED", absl::StrCat(path, ": ", why));
}

absl::Status CheckName(const std::string& path, const std::string& name) {
  const bool control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (!name.empty() && name.size() <= kMaxNameBytes && !control) return absl::OkStatus();
  return InvalidInput(
      "TENSOR_NAME_INVALID",
      absl::StrFormat("%s: a tensor name of %d bytes%s; names have 1 to %d bytes and no control characters", path,
                      name.size(), control ? " with control characters" : "", kMaxNameBytes));
}

// A non-negative integer member of the header, exact to 2^63 - 1.
absl::StatusOr<uint64_t> Unsigned(const Json& value, const std::string& path, const std::string& name,
                                  absl::string_view field) {
  const bool fits = value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
  if (fits) return value.get<uint64_t>();
  return Malformed(path, absl::StrFormat("tensor '%s': %s must hold integers from 0 to 2^63-1, not %s", name, field,
                                         value.dump().substr(0, 40)));
}

absl::StatusOr<std::vector<int64_t>> ReadShape(const Json& record, const std::string& path, const std::string& name) {
  const auto it = record.find("shape");
  if (it == record.end() || !it->is_array()) return Malformed(path, absl::StrFormat("tensor '%s' has no shape", name));
  std::vector<int64_t> shape;
  for (const Json& dimension : *it) {
    ASSIGN_OR_RETURN(const uint64_t size, Unsigned(dimension, path, name, "shape"));
    shape.push_back(static_cast<int64_t>(size));
  }
  return shape;
}

absl::StatusOr<Dtype> ReadDtype(const Json& record, const std::string& path, const std::string& name) {
  const auto it = record.find("dtype");
  if (it == record.end() || !it->is_string()) return Malformed(path, absl::StrFormat("tensor '%s' has no dtype", name));
  const std::optional<Dtype> dtype = DtypeFromName(it->get_ref<const std::string&>());
  if (dtype.has_value()) return *dtype;
  const std::string text = it->get_ref<const std::string&>().substr(0, 40);
  const bool known = std::find(std::begin(kUnreadDtypes), std::end(kUnreadDtypes), text) != std::end(kUnreadDtypes);
  return InvalidInput("TENSOR_DTYPE_UNKNOWN",
                      absl::StrFormat("%s: tensor '%s' has dtype '%s', %s; F64, F32, F16, BF16, BOOL and integers are "
                                      "read: export the model as BF16",
                                      path, name, text, known ? "which is not supported" : "which does not exist"));
}

absl::Status ReadOffsets(const Json& record, const std::string& path, TensorEntry& tensor) {
  const auto it = record.find("data_offsets");
  if (it == record.end() || !it->is_array() || it->size() != 2) {
    return Malformed(path, absl::StrFormat("tensor '%s' needs data_offsets of two numbers", tensor.name));
  }
  ASSIGN_OR_RETURN(tensor.begin, Unsigned((*it)[0], path, tensor.name, "data_offsets"));
  ASSIGN_OR_RETURN(tensor.end, Unsigned((*it)[1], path, tensor.name, "data_offsets"));
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ExpectedBytes(const std::string& path, const TensorEntry& tensor) {
  uint64_t bytes = static_cast<uint64_t>(DtypeBytes(tensor.dtype));
  for (const int64_t dimension : tensor.shape) {
    const auto product = CheckedMultiply(bytes, static_cast<uint64_t>(dimension));
    if (!product.has_value()) {
      return InvalidInput("TENSOR_TOO_LARGE",
                          absl::StrFormat("%s: tensor '%s' has shape %s of %s, more bytes than 64 bits can count", path,
                                          tensor.name, ShapeText(tensor.shape), DtypeName(tensor.dtype)));
    }
    bytes = *product;
  }
  return bytes;
}

absl::Status CheckRange(const std::string& path, const TensorEntry& tensor, uint64_t data_bytes) {
  ASSIGN_OR_RETURN(const uint64_t expected, ExpectedBytes(path, tensor));
  if (tensor.end > data_bytes || tensor.begin > tensor.end) {
    return InvalidInput(
        "TENSOR_OUTSIDE_FILE",
        absl::StrFormat("%s: tensor '%s' claims bytes %d..%d, but the data section has %d bytes; the file "
                        "is probably cut off, fetch it again",
                        path, tensor.name, tensor.begin, tensor.end, data_bytes));
  }
  if (tensor.size_bytes() != expected) {
    return InvalidInput(
        "TENSOR_SIZE_MISMATCH",
        absl::StrFormat("%s: tensor '%s' has %d bytes, but %s of %s needs %d", path, tensor.name, tensor.size_bytes(),
                        ShapeText(tensor.shape), DtypeName(tensor.dtype), expected));
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorEntry> ReadEntry(const std::string& path, const std::string& name, const Json& record,
                                      uint64_t data_bytes) {
  RETURN_IF_ERROR(CheckName(path, name));
  if (!record.is_object()) return Malformed(path, absl::StrFormat("the entry of tensor '%s' is not an object", name));
  TensorEntry tensor;
  tensor.name = name;
  ASSIGN_OR_RETURN(tensor.dtype, ReadDtype(record, path, name));
  ASSIGN_OR_RETURN(tensor.shape, ReadShape(record, path, name));
  RETURN_IF_ERROR(ReadOffsets(record, path, tensor));
  RETURN_IF_ERROR(CheckRange(path, tensor, data_bytes));
  return tensor;
}

// Tensors in order of their offsets must follow each other without hole or overlap and fill the data section.
absl::Status CheckTiling(const std::string& path, const std::vector<TensorEntry>& tensors, uint64_t data_bytes) {
  std::vector<const TensorEntry*> order;
  for (const TensorEntry& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorEntry* a, const TensorEntry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t position = 0;
  for (const TensorEntry* tensor : order) {
    if (tensor->begin != position) {
      return InvalidInput(
          "TENSORS_NOT_CONTIGUOUS",
          absl::StrFormat("%s: tensor '%s' begins at byte %d, the one before it ends at %d; tensors must "
                          "follow each other without hole or overlap",
                          path, tensor->name, tensor->begin, position));
    }
    position = tensor->end;
  }
  if (position == data_bytes) return absl::OkStatus();
  return InvalidInput("TENSORS_NOT_CONTIGUOUS", absl::StrFormat("%s: %d bytes after the last tensor belong to none",
                                                                path, data_bytes - position));
}

absl::StatusOr<std::map<std::string, std::string>> ReadMetadata(const std::string& path, const Json& value) {
  if (!value.is_object()) return Malformed(path, "__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return Malformed(path, absl::StrFormat("__metadata__ '%s' is not a string", key));
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// A repeated tensor name is told apart from other JSON faults, since the remedy is another file.
absl::Status TranslateJsonError(const std::string& path, const absl::Status& status) {
  if (ReasonOf(status) == "JSON_DUPLICATE_KEY") return InvalidInput("TENSOR_DUPLICATE", status.message());
  return Malformed(path, absl::StrCat("header: ", status.message()));
}

struct Header {
  absl::string_view text;
  uint64_t data_offset = 0;
};

absl::StatusOr<Header> LocateHeader(const std::string& path, absl::Span<const char> bytes) {
  uint64_t length;
  if (bytes.size() < sizeof(length)) {
    return InvalidInput("SAFETENSORS_TRUNCATED",
                        absl::StrFormat("%s: %d bytes; a safetensors file has at least 8", path, bytes.size()));
  }
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > kMaxSafetensorsHeaderBytes) {
    return InvalidInput("SAFETENSORS_HEADER_TOO_LARGE",
                        absl::StrFormat("%s: the header claims %d bytes, the limit is %d; is this a safetensors file?",
                                        path, length, kMaxSafetensorsHeaderBytes));
  }
  if (length > bytes.size() - sizeof(length)) {
    return InvalidInput(
        "SAFETENSORS_TRUNCATED",
        absl::StrFormat("%s: the header claims %d bytes, the file has %d after its length; fetch it again", path,
                        length, bytes.size() - sizeof(length)));
  }
  return Header{absl::string_view(bytes.data() + sizeof(length), length), sizeof(length) + length};
}

}  // namespace

int64_t TensorEntry::elements() const {
  return static_cast<int64_t>(size_bytes()) / DtypeBytes(dtype);
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  ASSIGN_OR_RETURN(const Header header, LocateHeader(path, mapped.bytes()));
  if (header.text.empty() || header.text.front() != '{') return Malformed(path, "the header must begin with '{'");
  const auto json = ParseJson(header.text, path, kMaxSafetensorsHeaderBytes);
  if (!json.ok()) return TranslateJsonError(path, json.status());
  if (!json->is_object()) return Malformed(path, "the header is not a JSON object");

  SafetensorsFile file(std::move(mapped));
  file.data_offset_ = header.data_offset;
  const uint64_t data_bytes = file.file_.bytes().size() - header.data_offset;
  for (const auto& [name, record] : json->items()) {  // sorted by name
    if (name == "__metadata__") {
      ASSIGN_OR_RETURN(file.metadata_, ReadMetadata(path, record));
      continue;
    }
    ASSIGN_OR_RETURN(TensorEntry tensor, ReadEntry(path, name, record, data_bytes));
    file.tensors_.push_back(std::move(tensor));
  }
  RETURN_IF_ERROR(CheckTiling(path, file.tensors_, data_bytes));
  return file;
}

const TensorEntry* SafetensorsFile::Find(absl::string_view name) const {
  const auto it = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                   [](const TensorEntry& tensor, absl::string_view key) { return tensor.name < key; });
  return it != tensors_.end() && it->name == name ? &*it : nullptr;
}

absl::Span<const char> SafetensorsFile::Bytes(const TensorEntry& tensor) const {
  return file_.bytes().subspan(data_offset_ + tensor.begin, tensor.size_bytes());
}

void SafetensorsFile::Release(const TensorEntry& tensor) const {
  ReleaseRange(tensor, 0, tensor.size_bytes());
}

void SafetensorsFile::ReleaseRange(const TensorEntry& tensor, uint64_t first_byte, uint64_t bytes) const {
  file_.Release(data_offset_ + tensor.begin + first_byte, bytes);
}

}  // namespace quantd
