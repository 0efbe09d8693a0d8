#include "core/formats/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/base/casts.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/base/checked.h"
#include "core/base/json.h"
#include "core/base/logging.h"
#include "core/base/status.h"
#include "core/formats/safetensors.h"

namespace quantd {
namespace {

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr uint64_t kMaxIndexBytes = 64u << 20;

bool IsHalf(Dtype dtype) {
  return dtype == Dtype::kF16 || dtype == Dtype::kBf16;
}

class Checkpoint : public WeightSource {
 public:
  explicit Checkpoint(std::string folder) : folder_(std::move(folder)) {}

  void AddShard(SafetensorsFile file) { shards_.push_back(std::make_unique<SafetensorsFile>(std::move(file))); }

  // Fills the lookup table once all shards are there.
  void IndexTensors() {
    for (const auto& shard : shards_) {
      for (const TensorEntry& tensor : shard->tensors()) tensors_[tensor.name] = {shard.get(), &tensor};
    }
  }

  const std::string& path() const override { return folder_; }

  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    for (const auto& [name, location] : tensors_) names.push_back(name);
    return names;
  }

  bool Has(absl::string_view name) const override { return tensors_.find(name) != tensors_.end(); }

  absl::StatusOr<std::vector<int64_t>> Shape(absl::string_view name) const override {
    ASSIGN_OR_RETURN(const Location location, Locate(name));
    return location.tensor->shape;
  }

  absl::StatusOr<Dtype> StoredDtype(absl::string_view name) const override {
    ASSIGN_OR_RETURN(const Location location, Locate(name));
    return location.tensor->dtype;
  }

  absl::Status ReadRows(absl::string_view name, int64_t first_row, int64_t rows, absl::Span<float> out) const override;

  absl::StatusOr<absl::Span<const char>> StoredTensorBytes(absl::string_view name) const override {
    ASSIGN_OR_RETURN(const Location location, Locate(name));
    return location.shard->Bytes(*location.tensor);
  }

  absl::StatusOr<std::unique_ptr<LinearWeight>> LoadLinear(absl::string_view name,
                                                           PlaneArithmetic arithmetic) const override;
  absl::StatusOr<double> LinearBytes(absl::string_view name) const override {
    ASSIGN_OR_RETURN(const Location location, Locate(name));
    const int element_bytes = IsHalf(location.tensor->dtype) ? 2 : 4;
    return static_cast<double>(location.tensor->elements()) * element_bytes;
  }

  void ReleaseStored(absl::string_view name) const override {
    const absl::StatusOr<Location> location = Locate(name);
    if (location.ok()) location->shard->Release(*location->tensor);
  }

  uint64_t StoredBytes() const override {
    uint64_t bytes = 0;
    for (const auto& [name, location] : tensors_) bytes += location.tensor->size_bytes();
    return bytes;
  }

 private:
  struct Location {
    const SafetensorsFile* shard;
    const TensorEntry* tensor;
  };

  absl::StatusOr<Location> Locate(absl::string_view name) const {
    const auto it = tensors_.find(name);
    if (it != tensors_.end()) return it->second;
    return InvalidInput("TENSOR_MISSING", absl::StrFormat("%s: tensor '%s' is missing", folder_, name));
  }

  std::string folder_;
  std::vector<std::unique_ptr<SafetensorsFile>> shards_;
  std::map<std::string, Location, std::less<>> tensors_;
};

// The largest magnitude as a bit pattern: at or above 0x7f800000 for NaN and infinities. Inner loops of constant length
// are what the compiler vectorizes.
uint32_t LargestMagnitudeBits(absl::Span<const float> values) {
  constexpr size_t kLanes = 16;
  uint32_t lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const uint32_t magnitude = absl::bit_cast<uint32_t>(values[i + lane]) & 0x7fffffff;
      lanes[lane] = std::max(lanes[lane], magnitude);
    }
  }
  for (; i < values.size(); ++i) lanes[0] = std::max(lanes[0], absl::bit_cast<uint32_t>(values[i]) & 0x7fffffff);
  return *std::max_element(lanes, lanes + kLanes);
}

absl::Status CheckFinite(const std::string& path, absl::string_view name, int64_t first,
                         absl::Span<const float> values) {
  if (LargestMagnitudeBits(values) < 0x7f800000) return absl::OkStatus();
  const auto bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  return InvalidInput("TENSOR_NOT_FINITE",
                      absl::StrFormat("%s: tensor '%s' holds %f at flat index %d; weights must be finite, fetch or "
                                      "export the model again",
                                      path, name, *bad, first + (bad - values.begin())));
}

// Reads at least this long give their pages back: a model is read block by block, and what was widened is not read
// again soon. Pages stay in the system's cache, so that a second reading costs page faults only.
constexpr uint64_t kReleaseBytes = 1 << 20;

absl::Status Checkpoint::ReadRows(absl::string_view name, int64_t first_row, int64_t rows,
                                  absl::Span<float> out) const {
  ASSIGN_OR_RETURN(const Location location, Locate(name));
  const TensorEntry& tensor = *location.tensor;
  if (!IsFloat(tensor.dtype)) {
    return InvalidInput("TENSOR_WRONG_DTYPE",
                        absl::StrFormat("%s: tensor '%s' is %s; a weight must be F32, F16, BF16 or F64",
                                        location.shard->path(), name, DtypeName(tensor.dtype)));
  }
  const int64_t count = static_cast<int64_t>(out.size());
  const int64_t cols = rows > 0 ? count / rows : 0;
  const auto begin = CheckedMultiply(static_cast<uint64_t>(first_row), static_cast<uint64_t>(cols));
  const auto elements = static_cast<uint64_t>(tensor.elements());
  if (first_row < 0 || rows < 0 || rows * cols != count || !begin.has_value() || *begin > elements ||
      out.size() > elements - *begin) {
    return InvalidInput("TENSOR_WRONG_SHAPE",
                        absl::StrFormat("%s: tensor '%s' has %d elements, wanted %d rows of %d from row %d on",
                                        location.shard->path(), name, elements, rows, cols, first_row));
  }
  const uint64_t element_bytes = static_cast<uint64_t>(DtypeBytes(tensor.dtype));
  const uint64_t first_byte = *begin * element_bytes;
  WidenToF32(tensor.dtype, location.shard->Bytes(tensor).data() + first_byte, out);
  const uint64_t size_bytes = out.size() * element_bytes;
  if (size_bytes >= kReleaseBytes) location.shard->ReleaseRange(tensor, first_byte, size_bytes);
  return CheckFinite(location.shard->path(), name, static_cast<int64_t>(*begin), out);
}

// Some rows at a time, so that the f32 form of a large matrix is never held whole; reading checks that they are finite.
absl::StatusOr<std::unique_ptr<LinearWeight>> Checkpoint::LoadLinear(absl::string_view name,
                                                                     PlaneArithmetic arithmetic) const {
  constexpr int64_t kRowsAtOnce = 256;
  ASSIGN_OR_RETURN(const Location location, Locate(name));
  if (!IsHalf(location.tensor->dtype)) return WeightSource::LoadLinear(name, arithmetic);
  const std::vector<int64_t>& shape = location.tensor->shape;
  auto weight = std::make_unique<HalfLinear>(location.tensor->dtype, shape[0], shape[1]);
  Matrix rows(std::min(kRowsAtOnce, shape[0]), shape[1]);
  for (int64_t first = 0; first < shape[0]; first += kRowsAtOnce) {
    const MutableMatrixView part = rows.view().Rows(0, std::min(kRowsAtOnce, shape[0] - first));
    RETURN_IF_ERROR(ReadRows(name, first, part.rows, {part.data, static_cast<size_t>(part.rows * part.cols)}));
    weight->SetRows(first, part);
  }
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

absl::Status CheckFileReference(const std::string& index, const std::string& file) {
  const bool one_component = !file.empty() && file != "." && file != ".." && !absl::StrContains(file, '/') &&
                             !absl::StrContains(file, '\\') && file.find('\0') == std::string::npos;
  if (one_component) return absl::OkStatus();
  return InvalidInput("INDEX_INVALID",
                      absl::StrFormat("%s: '%s' is not a file name; shards lie beside the index", index, file));
}

// tensor -> shard file name
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  const absl::StatusOr<Json> json = ReadJsonFile(path, kMaxIndexBytes);
  if (!json.ok()) return InvalidInput("INDEX_INVALID", json.status().message());
  if (!json->is_object() || !json->contains("weight_map") || !(*json)["weight_map"].is_object() ||
      (*json)["weight_map"].empty()) {
    return InvalidInput("INDEX_INVALID", absl::StrCat(path, ": needs an object 'weight_map' from tensor to file"));
  }
  std::map<std::string, std::string> result;
  for (const auto& [tensor, file] : (*json)["weight_map"].items()) {
    if (!file.is_string()) {
      return InvalidInput("INDEX_INVALID", absl::StrFormat("%s: weight_map of '%s' is not a file name", path, tensor));
    }
    RETURN_IF_ERROR(CheckFileReference(path, file.get_ref<const std::string&>()));
    result[tensor] = file.get<std::string>();
  }
  return result;
}

// Every tensor of a listed shard is mapped, to that shard, and the other way round.
absl::Status CheckShard(const SafetensorsFile& shard, const std::string& file,
                        const std::map<std::string, std::string>& index) {
  for (const TensorEntry& tensor : shard.tensors()) {
    const auto it = index.find(tensor.name);
    if (it != index.end() && it->second == file) continue;
    return InvalidInput("SHARD_TENSOR_MISMATCH",
                        absl::StrFormat("%s holds tensor '%s', which the index %s", shard.path(), tensor.name,
                                        it == index.end() ? "does not list" : absl::StrCat("expects in ", it->second)));
  }
  for (const auto& [tensor, mapped] : index) {
    if (mapped == file && shard.Find(tensor) == nullptr) {
      return InvalidInput("SHARD_TENSOR_MISMATCH",
                          absl::StrFormat("%s lacks tensor '%s', which the index expects there", shard.path(), tensor));
    }
  }
  return absl::OkStatus();
}

// The shard's real path: a link that leads out of the folder is refused.
absl::StatusOr<std::string> LocateShard(const std::string& folder, const std::string& file) {
  auto path = ResolveBelow(folder, file);
  if (ReasonOf(path.status()) != "FILE_NOT_FOUND") return path;
  return InvalidInput("SHARD_MISSING", absl::StrFormat("%s: shard '%s' named by %s is missing; fetch the model again",
                                                       folder, file, kIndexFile));
}

void WarnOfUnlisted(const std::string& folder, const std::set<std::string>& listed) {
  const auto names = RealFileSystem().ListDirectory(folder);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (!absl::EndsWith(name, ".safetensors") || listed.count(name) == 1) continue;
    Log(Severity::kWarning, "weights_ignored", {{"folder", folder}, {"file", name}},
        "the index does not list this file; the index wins");
  }
}

absl::Status OpenShards(const std::string& folder, Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(const auto index, ReadIndex(JoinPath(folder, kIndexFile)));
  std::set<std::string> files;
  for (const auto& [tensor, file] : index) files.insert(file);
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(const std::string path, LocateShard(folder, file));
    ASSIGN_OR_RETURN(SafetensorsFile shard, SafetensorsFile::Open(path));
    RETURN_IF_ERROR(CheckShard(shard, file, index));
    checkpoint.AddShard(std::move(shard));
  }
  WarnOfUnlisted(folder, files);
  return absl::OkStatus();
}

absl::Status NoWeights(const std::string& folder) {
  const auto names = RealFileSystem().ListDirectory(folder);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (absl::EndsWith(name, ".bin") || absl::EndsWith(name, ".pt") || absl::EndsWith(name, ".pth")) {
      return InvalidInput("MODEL_FOLDER_INVALID",
                          absl::StrFormat("%s: only pickled weights ('%s'), which are never read because they can run "
                                          "code; convert them to safetensors",
                                          folder, name));
    }
  }
  return InvalidInput("MODEL_FOLDER_INVALID",
                      absl::StrFormat("%s: has neither %s nor %s", folder, kSingleFile, kIndexFile));
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> OpenCheckpoint(const std::string& folder) {
  FileSystem& files = RealFileSystem();
  auto checkpoint = std::make_unique<Checkpoint>(folder);
  if (files.Exists(JoinPath(folder, kIndexFile))) {
    RETURN_IF_ERROR(OpenShards(folder, *checkpoint));
  } else if (files.Exists(JoinPath(folder, kSingleFile))) {
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(JoinPath(folder, kSingleFile)));
    checkpoint->AddShard(std::move(file));
  } else {
    return NoWeights(folder);
  }
  checkpoint->IndexTensors();
  return std::unique_ptr<WeightSource>(std::move(checkpoint));
}

}  // namespace quantd
