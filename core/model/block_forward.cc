// Transformer::ForwardBlock.
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/model/block_pass.h"
#include "core/model/forward_state.h"
#include "core/model/transformer.h"

namespace quantd {
namespace {

absl::Status CheckCache(const ForwardOptions& options, int64_t tokens) {
  const KvCache* cache = options.cache;
  if (cache == nullptr) return absl::OkStatus();
  if (options.first_position != cache->length()) {
    return absl::InternalError(absl::StrFormat("position %d does not follow the %d tokens of the cache",
                                               options.first_position, cache->length()));
  }
  if (tokens <= cache->capacity() - cache->length()) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kOutOfRange, "CACHE_FULL",
                     absl::StrFormat("the cache of keys and values holds %d of %d tokens and cannot take %d more",
                                     cache->length(), cache->capacity(), tokens));
}

}  // namespace

absl::Status Transformer::ForwardBlock(const ExecutionContext& context, const Block& block,
                                       const ForwardOptions& options, MutableMatrixView hidden) const {
  RETURN_IF_ERROR(CheckCache(options, hidden.rows));
  std::shared_ptr<const RotaryTable> rotary;
  if (config_.rotary_size > 0) rotary = state_->rotary.Covering(options.first_position + hidden.rows);
  const ForwardState::BuffersLease buffers = state_->BorrowBuffers();
  const BlockInputs inputs = {context, config_, block_sites(block.index), block, options, rotary.get()};
  return BlockPass(inputs, *buffers).Run(hidden);
}

}  // namespace quantd
