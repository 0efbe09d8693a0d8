#include "core/tensor/state_tensor.h"

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {

StateTensors StateTensors::Below(absl::string_view prefix) const {
  std::vector<StateTensor> below;
  for (const StateTensor& tensor : tensors_) {
    if (!absl::StartsWith(tensor.name, prefix)) continue;
    below.push_back(tensor);
    below.back().name.erase(0, prefix.size());
  }
  return StateTensors(std::move(below), bytes_owner_);
}

absl::StatusOr<const StateTensor*> StateTensors::Find(absl::string_view name, Dtype dtype) const {
  for (const StateTensor& tensor : tensors_) {
    if (tensor.name == name && tensor.dtype == dtype) return &tensor;
  }
  return InvalidInput("CHECKPOINT_MALFORMED",
                      absl::StrFormat("the checkpoint has no tensor '%s' of %s", name, DtypeName(dtype)));
}

absl::Status StateTensors::Copy(absl::string_view name, Dtype dtype, size_t size_bytes, void* out) const {
  ASSIGN_OR_RETURN(const StateTensor* tensor, Find(name, dtype));
  if (tensor->bytes.size() != size_bytes) {
    return InvalidInput("CHECKPOINT_MALFORMED", absl::StrFormat("the checkpoint's tensor '%s' has %d bytes, not %d",
                                                                name, tensor->bytes.size(), size_bytes));
  }
  if (size_bytes > 0) std::memcpy(out, tensor->bytes.data(), size_bytes);
  return absl::OkStatus();
}

}  // namespace quantd
