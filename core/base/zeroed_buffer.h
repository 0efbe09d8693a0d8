// Zeroed memory for large arrays.
#ifndef QUANTD_CORE_BASE_ZEROED_BUFFER_H_
#define QUANTD_CORE_BASE_ZEROED_BUFFER_H_

#include <cstddef>
#include <memory>

namespace quantd {

// Frees what AllocateZeroed gave.
struct ZeroedBufferDeleter {
  size_t mapped_bytes = 0;  // 0: from the heap
  void operator()(void* data) const;
};
template <typename T>
using ZeroedBuffer = std::unique_ptr<T[], ZeroedBufferDeleter>;

// `bytes` of zeros, 64-byte aligned. From 2 MiB on they are pages of their own, on huge pages where the system grants
// them: those come zeroed, and first touches cost a fraction of what 4 KiB pages take. Throws std::bad_alloc, caught
// where a job begins and reported as RESOURCE_EXHAUSTED.
std::unique_ptr<void, ZeroedBufferDeleter> AllocateZeroed(size_t bytes);

// `count` elements of a trivial type.
template <typename T>
ZeroedBuffer<T> AllocateZeroedArray(size_t count) {
  auto buffer = AllocateZeroed(count * sizeof(T));
  const ZeroedBufferDeleter deleter = buffer.get_deleter();
  return ZeroedBuffer<T>(static_cast<T*>(buffer.release()), deleter);
}

}  // namespace quantd

#endif  // QUANTD_CORE_BASE_ZEROED_BUFFER_H_
