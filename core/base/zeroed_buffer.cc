#include "core/base/zeroed_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace quantd {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kCacheLine = 64;

size_t RoundedUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// Whole huge pages, aligned to them: one page too much is mapped and both ends are given back.
void* MapHugePages(size_t bytes) {
  void* mapped = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  const uintptr_t begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = RoundedUp(begin, kHugePage);
  if (aligned > begin) munmap(mapped, aligned - begin);
  void* data = reinterpret_cast<void*>(aligned);
  const size_t tail = begin + kHugePage - aligned;
  if (tail > 0) munmap(static_cast<char*>(data) + bytes, tail);
  madvise(data, bytes, MADV_HUGEPAGE);  // a wish: small pages serve as well
  return data;
}

}  // namespace

void ZeroedBufferDeleter::operator()(void* data) const {
  if (mapped_bytes > 0) {
    munmap(data, mapped_bytes);
  } else {
    std::free(data);
  }
}

std::unique_ptr<void, ZeroedBufferDeleter> AllocateZeroed(size_t bytes) {
  if (bytes == 0) return nullptr;
  if (bytes >= kHugePage && bytes <= SIZE_MAX / 2) {
    const size_t mapped_bytes = RoundedUp(bytes, kHugePage);
    return {MapHugePages(mapped_bytes), ZeroedBufferDeleter{mapped_bytes}};
  }
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  void* data = std::aligned_alloc(kCacheLine, RoundedUp(bytes, kCacheLine));
  if (data == nullptr) throw std::bad_alloc();
  std::memset(data, 0, bytes);
  return {data, ZeroedBufferDeleter{}};
}

}  // namespace quantd
