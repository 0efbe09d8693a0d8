#include "core/model/forward_state.h"

#include <utility>

namespace quantd {

MutableMatrixView BlockBuffers::Get(Name name, int64_t rows, int64_t cols) {
  Matrix& matrix = matrices_[name];
  if (matrix.size() < rows * cols) {
    matrix = Matrix();  // first, so that old and new are not both there
    matrix = Matrix(rows, cols);
  }
  return {matrix.data(), rows, cols, cols};
}

void Transformer::ForwardState::Return::operator()(BlockBuffers* buffers) const {
  const std::lock_guard<std::mutex> lock(state->mutex_);
  state->free_.emplace_back(buffers);
}

Transformer::ForwardState::BuffersLease Transformer::ForwardState::BorrowBuffers() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_.empty()) return BuffersLease(new BlockBuffers, Return{this});
  BuffersLease lease(free_.back().release(), Return{this});
  free_.pop_back();
  return lease;
}

}  // namespace quantd
