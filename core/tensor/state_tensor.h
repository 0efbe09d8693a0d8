// State that a long computation saves and loads as named tensors, so that it can go on in another process with the same
// bytes. What owns the state says which tensors it has; where they are kept is somebody else's matter.
#ifndef QUANTD_CORE_TENSOR_STATE_TENSOR_H_
#define QUANTD_CORE_TENSOR_STATE_TENSOR_H_

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/tensor/dtype.h"

namespace quantd {

// A view: valid until its owner changes.
struct StateTensor {
  std::string name;  // "sums"
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  absl::Span<const char> bytes;
};

template <typename T>
inline constexpr Dtype kDtypeOf = Dtype::kBool;
template <>
inline constexpr Dtype kDtypeOf<double> = Dtype::kF64;
template <>
inline constexpr Dtype kDtypeOf<float> = Dtype::kF32;
template <>
inline constexpr Dtype kDtypeOf<int64_t> = Dtype::kI64;

template <typename T>
StateTensor StateOf(std::string name, absl::Span<const T> values, std::vector<int64_t> shape) {
  return {std::move(name),
          kDtypeOf<T>,
          std::move(shape),
          {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)}};
}
template <typename T>
StateTensor StateOf(std::string name, const std::vector<T>& values) {
  return StateOf(std::move(name), absl::MakeConstSpan(values), {static_cast<int64_t>(values.size())});
}

// Tensors that belong together, as saved or as read back. Nothing read back is trusted: its owner asks for what it
// needs.
class StateTensors {
 public:
  StateTensors() = default;
  // `bytes_owner` keeps the bytes alive; null: somebody else does.
  explicit StateTensors(std::vector<StateTensor> tensors, std::shared_ptr<const void> bytes_owner = nullptr)
      : tensors_(std::move(tensors)), bytes_owner_(std::move(bytes_owner)) {}

  const std::vector<StateTensor>& tensors() const { return tensors_; }
  // Those whose name begins with `prefix`, without it.
  StateTensors Below(absl::string_view prefix) const;

  // CHECKPOINT_MALFORMED when there is no such tensor of this type.
  absl::StatusOr<const StateTensor*> Find(absl::string_view name, Dtype dtype) const;

  // Fills `out` from the tensor of exactly so many elements. CHECKPOINT_MALFORMED.
  template <typename T>
  absl::Status Load(absl::string_view name, absl::Span<T> out) const {
    return Copy(name, kDtypeOf<T>, out.size() * sizeof(T), out.data());
  }
  // The same for as many elements as there are.
  template <typename T>
  absl::Status LoadAll(absl::string_view name, std::vector<T>& out) const {
    const auto tensor = Find(name, kDtypeOf<T>);
    if (!tensor.ok()) return tensor.status();
    out.resize((*tensor)->bytes.size() / sizeof(T));
    return Load(name, absl::MakeSpan(out));
  }

 private:
  absl::Status Copy(absl::string_view name, Dtype dtype, size_t size_bytes, void* out) const;
  std::vector<StateTensor> tensors_;
  std::shared_ptr<const void> bytes_owner_;
};

// One part of a saved state. `name` says which content it has: parts of one name have the same bytes, and need not be
// written twice.
struct StatePart {
  std::string name;                       // "boundary-00003-00000"
  std::function<StateTensors()> tensors;  // called at once, or never
};

// Finds a part of a saved state by its name.
using StateSource = std::function<absl::StatusOr<StateTensors>(const std::string& part)>;

}  // namespace quantd

#endif  // QUANTD_CORE_TENSOR_STATE_TENSOR_H_
