// One boundary's activations of many token sequences: what leaves block b and enters block b + 1.
//
//   ASSIGN_OR_RETURN(ActivationStore store, ActivationStore::Create(lengths, hidden_size, {.memory_budget_bytes =
//   budget,
//                                                                                          .scratch_directory =
//                                                                                          scratch}));
//   for (int64_t s = 0; s < store.sequences(); ++s) {
//     RETURN_IF_ERROR(model.ForwardBlock(context, block, {}, store.sequence(s)));
//     store.Release(s);
//   }
//
// Up to the budget the values are in memory. Above it they are in an unlinked file in the scratch directory, mapped, so
// that they vanish with the process however it ends; its bytes are reserved on creation, so that a full disk is an
// error here and never a signal later. Values begin as zero. Sequences may differ in length and lie one after the
// other. Thread-compatible; different sequences may be written from different threads.
#ifndef QUANTD_CORE_MODEL_ACTIVATION_STORE_H_
#define QUANTD_CORE_MODEL_ACTIVATION_STORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/tensor/matrix.h"

namespace quantd {

struct ActivationStoreOptions {
  uint64_t memory_budget_bytes = UINT64_MAX;  // more than this is spilled
  std::string scratch_directory;              // must exist; empty: the system's temporary directory
};

class ActivationStore {
 public:
  // `lengths`: tokens of each sequence, >= 0. ACTIVATIONS_TOO_LARGE when 63 bits cannot count the bytes; DISK_FULL,
  // IO_ERROR or FILE_NOT_FOUND naming the scratch directory when spilling fails; MEMORY_EXHAUSTED when memory cannot be
  // had.
  static absl::StatusOr<ActivationStore> Create(absl::Span<const int64_t> lengths, int64_t width,
                                                const ActivationStoreOptions& options);
  // The same for `sequences` sequences of `length` tokens.
  static absl::StatusOr<ActivationStore> Create(int64_t sequences, int64_t length, int64_t width,
                                                const ActivationStoreOptions& options);
  ActivationStore(ActivationStore&& other) noexcept;
  ActivationStore& operator=(ActivationStore&& other) noexcept;
  ~ActivationStore();

  int64_t sequences() const { return static_cast<int64_t>(begin_.size()) - 1; }
  int64_t width() const { return width_; }
  int64_t tokens() const { return begin_.back(); }  // of all sequences
  uint64_t size_bytes() const { return size_bytes_; }
  bool spilled() const { return spilled_; }

  // [tokens of the sequence, width].
  MutableMatrixView sequence(int64_t index);
  MatrixView sequence(int64_t index) const;
  // Every sequence, one below the other: [tokens(), width]. Row of the first token of `index`: first_row(index).
  MutableMatrixView rows() { return {data_, tokens(), width_, width_}; }
  MatrixView rows() const { return {data_, tokens(), width_, width_}; }
  absl::Span<float> values() { return {data_, size_bytes_ / sizeof(float)}; }
  absl::Span<const float> values() const { return {data_, size_bytes_ / sizeof(float)}; }
  int64_t first_row(int64_t index) const { return begin_[index]; }

  // The sequence will not be touched soon: when spilled, its pages leave this process's resident memory (values stay).
  void Release(int64_t index) const;

 private:
  ActivationStore() = default;

  std::vector<int64_t> begin_;  // first row of each sequence, then the number of rows
  int64_t width_ = 0;
  uint64_t size_bytes_ = 0;
  bool spilled_ = false;
  float* data_ = nullptr;  // a mapping of size_bytes_, or nullptr when that is 0
};

}  // namespace quantd

#endif  // QUANTD_CORE_MODEL_ACTIVATION_STORE_H_
