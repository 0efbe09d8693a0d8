// safetensors: u64 header length | JSON header | data. Validity rules: docs/formats/safetensors.md.
#ifndef QUANTD_CORE_FORMATS_SAFETENSORS_H_
#define QUANTD_CORE_FORMATS_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/file_system.h"
#include "core/tensor/dtype.h"

namespace quantd {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;  // empty: one element
  uint64_t begin = 0;          // bytes, from the start of the data section
  uint64_t end = 0;

  uint64_t size_bytes() const { return end - begin; }
  int64_t elements() const;
};

// One mapped file. Every rule is checked on opening, before any allocation sized by a field of the file.
// Reasons: SAFETENSORS_TRUNCATED, SAFETENSORS_HEADER_TOO_LARGE, SAFETENSORS_HEADER_MALFORMED, TENSOR_DTYPE_UNKNOWN,
// TENSOR_TOO_LARGE, TENSOR_SIZE_MISMATCH, TENSOR_OUTSIDE_FILE, TENSORS_NOT_CONTIGUOUS, TENSOR_NAME_INVALID,
// TENSOR_DUPLICATE.
class SafetensorsFile {
 public:
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  // Sorted by name.
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  const TensorEntry* Find(absl::string_view name) const;  // nullptr when absent
  absl::Span<const char> Bytes(const TensorEntry& tensor) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  uint64_t data_offset() const { return data_offset_; }
  // Lets the kernel drop the pages of this tensor.
  void Release(const TensorEntry& tensor) const;
  // The same for a part of it; bytes from the tensor's begin.
  void ReleaseRange(const TensorEntry& tensor, uint64_t first_byte, uint64_t bytes) const;

 private:
  explicit SafetensorsFile(MappedFile file) : file_(std::move(file)) {}
  MappedFile file_;
  uint64_t data_offset_ = 0;
  std::vector<TensorEntry> tensors_;
  std::map<std::string, std::string> metadata_;
};

// What a tensor to be written looks like; its bytes follow in the order of `tensors`.
struct TensorSpec {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  uint64_t size_bytes() const;  // of a shape that SafetensorsWriter accepts
};

// Streaming writer: sizes are known before data, so the header goes first and memory holds nothing but the caller's
// chunk.
//   ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::Create(files, path, specs, {{"format", "pt"}}));
//   for each spec, in order: RETURN_IF_ERROR(writer->Append(bytes)) as often as needed
//   RETURN_IF_ERROR(writer->Finish());   // checks that every byte came; syncs; closes
// The header is padded with spaces to a multiple of 8. The writer keeps the order given: pass wide dtypes first for
// alignment. One thread at a time.
class SafetensorsWriter {
 public:
  // INTERNAL for a plan that no reader would accept: a bad or repeated name, a negative dimension, sizes beyond 63
  // bits.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(FileSystem& files, const std::string& path,
                                                                   const std::vector<TensorSpec>& tensors,
                                                                   const std::map<std::string, std::string>& metadata);
  absl::Status Append(absl::string_view bytes);
  absl::Status Finish();

 private:
  SafetensorsWriter() = default;
  std::unique_ptr<WritableFile> file_;
  std::string path_;
  uint64_t expected_bytes_ = 0;
  uint64_t written_bytes_ = 0;
};

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_SAFETENSORS_H_
