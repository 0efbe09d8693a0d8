#include "core/model/gradient_pass.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/model/layer_ops.h"

namespace quantd {
namespace {

using Phase = GradientPlace::Phase;

constexpr char kValues[] = "values";
constexpr char kLosses[] = "losses";

bool RowsAreFinite(const ExecutionContext& context, const MatrixView& values) {
  std::vector<char> finite(static_cast<size_t>(values.rows), 1);
  ForRows(context, values.rows, [&](int64_t t) { finite[t] = AllFinite(values.row_span(t)); });
  return std::find(finite.begin(), finite.end(), 0) == finite.end();
}

}  // namespace

absl::StatusOr<GradientPass> GradientPass::Create(const ExecutionContext& context, const Transformer& model,
                                                  absl::Span<const TokenSequence> sequences,
                                                  GradientPassOptions options) {
  const int blocks = model.config().blocks;
  if (options.first_block < 0 || options.first_block > blocks) {
    return InvalidInput("BLOCK_OUT_OF_RANGE", absl::StrFormat("gradients are asked for from block %d on; the model has "
                                                              "%d blocks",
                                                              options.first_block, blocks));
  }
  std::vector<int64_t> lengths;
  for (size_t s = 0; s < sequences.size(); ++s) {
    lengths.push_back(static_cast<int64_t>(sequences[s].size()));
    if (lengths.back() >= 2) continue;
    return InvalidInput("SEQUENCE_TOO_SHORT",
                        absl::StrFormat("sequence %d has %d tokens; a loss needs two: use longer calibration sequences",
                                        options.first_sequence + static_cast<int64_t>(s), lengths.back()));
  }
  GradientPass pass(context, model, sequences, std::move(options));
  pass.place_.block = pass.options_.first_block;
  if (pass.place_.block == blocks) pass.place_.phase = Phase::kLoss;
  if (sequences.empty()) pass.place_.phase = Phase::kDone;
  pass.losses_.resize(sequences.size());
  ActivationStoreOptions store = pass.options_.store;
  for (int b = pass.options_.first_block; b <= blocks; ++b) {
    ASSIGN_OR_RETURN(ActivationStore boundary, ActivationStore::Create(lengths, model.config().hidden_size, store));
    if (!boundary.spilled()) store.memory_budget_bytes -= boundary.size_bytes();
    pass.boundaries_.push_back(std::make_unique<ActivationStore>(std::move(boundary)));
  }
  return pass;
}

absl::Status GradientPass::Embed() {
  for (size_t s = 0; s < sequences_.size(); ++s) {
    const auto index = static_cast<int64_t>(s);
    RETURN_IF_ERROR(WithContext(model_->Embed(*context_, sequences_[s], 0, boundary(0).sequence(index)),
                                absl::StrFormat("sequence %d", options_.first_sequence + index)));
    boundary(0).Release(index);
  }
  return absl::OkStatus();
}

absl::Status GradientPass::Run(GradientObserver* observer, const std::function<absl::Status(double)>& step) {
  while (place_.phase != Phase::kDone) RETURN_IF_ERROR(RunBlock(observer, step));
  return absl::OkStatus();
}

// The sequences that are left of one block, or of the loss.
absl::Status GradientPass::RunBlock(GradientObserver* observer, const std::function<absl::Status(double)>& step) {
  const GradientPlace at = place_;
  Block block;
  Head head;
  if (at.phase == Phase::kLoss) {
    ASSIGN_OR_RETURN(head, model_->LoadHead());
  } else {
    ASSIGN_OR_RETURN(block, LoadBlock());
  }
  while (place_.phase == at.phase && place_.block == at.block) {
    if (at.phase == Phase::kForward) RETURN_IF_ERROR(Forward(block));
    if (at.phase == Phase::kLoss) RETURN_IF_ERROR(Loss(head));
    if (at.phase == Phase::kBackward) RETURN_IF_ERROR(Backward(block, observer));
    Advance();
    RETURN_IF_ERROR(step(Share()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Block> GradientPass::LoadBlock() const {
  return options_.load_block ? options_.load_block(place_.block) : model_->LoadBlock(place_.block);
}

absl::Status GradientPass::Forward(const Block& block) {
  const MutableMatrixView out = boundary(place_.block + 1).sequence(place_.sequence);
  CopyRows(*context_, boundary(place_.block).sequence(place_.sequence), out);
  RETURN_IF_ERROR(model_->ForwardBlock(*context_, block, {}, out));
  RETURN_IF_ERROR(CheckFinite(out, "ACTIVATIONS_NOT_FINITE", "the output"));
  boundary(place_.block).Release(place_.sequence);
  boundary(place_.block + 1).Release(place_.sequence);
  return absl::OkStatus();
}

absl::Status GradientPass::Loss(const Head& head) {
  const LossOptions options{options_.labels, options_.seed, options_.first_sequence + place_.sequence};
  ASSIGN_OR_RETURN(losses_[place_.sequence],
                   LossGradient(*context_, *model_, head, options, sequences_[place_.sequence],
                                boundary(place_.block).sequence(place_.sequence)));
  boundary(place_.block).Release(place_.sequence);
  return absl::OkStatus();
}

absl::Status GradientPass::Backward(const Block& block, GradientObserver* observer) {
  const MutableMatrixView input = boundary(place_.block).sequence(place_.sequence);
  if (gradient_.size() < input.rows * input.cols) gradient_ = Matrix(input.rows, input.cols);
  const MutableMatrixView gradient = {gradient_.data(), input.rows, input.cols, input.cols};
  CopyRows(*context_, boundary(place_.block + 1).sequence(place_.sequence), gradient);
  const bool wanted = options_.keep_gradients || place_.block > options_.first_block;
  RETURN_IF_ERROR(model_->BackwardBlock(*context_, block, {observer, wanted}, input, gradient));
  if (wanted) {
    RETURN_IF_ERROR(CheckFinite(gradient, "GRADIENT_NOT_FINITE", "the gradient at the input"));
    CopyRows(*context_, gradient, input);
  }
  boundary(place_.block).Release(place_.sequence);
  boundary(place_.block + 1).Release(place_.sequence);
  return absl::OkStatus();
}

absl::Status GradientPass::CheckFinite(const MatrixView& values, absl::string_view reason,
                                       absl::string_view what) const {
  if (RowsAreFinite(*context_, values)) return absl::OkStatus();
  return InvalidInput(reason, absl::StrFormat("sequence %d: %s of block %d is not finite: the model overflows on this "
                                              "text, or its weights hold huge values",
                                              options_.first_sequence + place_.sequence, what, place_.block));
}

void GradientPass::Advance() {
  if (++place_.sequence < count()) return;
  place_.sequence = 0;
  if (place_.phase == Phase::kForward) {
    if (++place_.block == last_boundary()) place_.phase = Phase::kLoss;
    return;
  }
  if (place_.phase == Phase::kBackward && !options_.keep_gradients) {
    boundaries_[place_.block + 1 - options_.first_block].reset();
  }
  const bool at_first = place_.block == options_.first_block;
  place_.phase = at_first ? Phase::kDone : Phase::kBackward;
  if (!at_first) --place_.block;
}

// In units of one sequence's forward pass through one block: backward it is run again, and each linear is multiplied
// twice, for the gradients of its input and of its weight.
double GradientPass::Share() const {
  constexpr double kBackward = 3;
  const ModelConfig& config = model_->config();
  double block_weights = 0;
  for (const LinearSite& site : model_->block_sites(0)) block_weights += static_cast<double>(site.rows * site.cols);
  const double loss = 2 * static_cast<double>(config.vocabulary_size * config.embedding_size) / block_weights;
  const double blocks = config.blocks - options_.first_block;
  const double within = static_cast<double>(place_.sequence) / static_cast<double>(count());
  const double total = blocks * (1 + kBackward) + loss;
  switch (place_.phase) {
    case Phase::kForward:
      return (place_.block - options_.first_block + within) / total;
    case Phase::kLoss:
      return (blocks + loss * within) / total;
    case Phase::kBackward:
      return (blocks + loss + kBackward * (config.blocks - 1 - place_.block + within)) / total;
    case Phase::kDone:
      break;
  }
  return 1;
}

void GradientPass::KeepOnly(int first, int last) {
  for (int b = options_.first_block; b <= last_boundary(); ++b) {
    if (b < first || b > last) boundaries_[b - options_.first_block].reset();
  }
}

uint64_t GradientPass::size_bytes() const {
  uint64_t sum = 0;
  for (const auto& boundary : boundaries_) sum += boundary == nullptr ? 0 : boundary->size_bytes();
  return sum;
}

// ---- Saving and loading.

GradientPass::Content GradientPass::ContentOf(int boundary) const {
  if (boundaries_[boundary - options_.first_block] == nullptr) return {};
  switch (place_.phase) {
    case Phase::kForward:
      if (boundary <= place_.block) return {0, count()};
      return {0, boundary == place_.block + 1 ? place_.sequence : 0};
    case Phase::kLoss:
    case Phase::kBackward:
      if (boundary != place_.block) return boundary < place_.block ? Content{0, count()} : Content{count(), 0};
      return {place_.sequence, count() - place_.sequence};
    case Phase::kDone:
      break;
  }
  return options_.keep_gradients ? Content{count(), 0} : Content{};
}

std::string GradientPass::PartName(int boundary) const {
  const Content content = ContentOf(boundary);
  return absl::StrFormat("gradients-%05d-%05d-%05d", boundary, content.gradients, content.activations);
}

std::string GradientPass::LossesName() const {
  const bool begun = place_.phase != Phase::kForward;
  return absl::StrFormat("gradient-losses-%05d", place_.phase == Phase::kLoss ? place_.sequence : begun * count());
}

std::vector<StatePart> GradientPass::Save() const {
  std::vector<StatePart> parts;
  parts.push_back({LossesName(), [this] { return StateTensors({StateOf(kLosses, losses_)}); }});
  for (int b = options_.first_block; b <= last_boundary(); ++b) {
    const Content content = ContentOf(b);
    if (content.gradients + content.activations == 0) continue;
    parts.push_back({PartName(b), [&store = boundary(b)] {
                       return StateTensors({StateOf<float>(kValues, store.values(), {store.tokens(), store.width()})});
                     }});
  }
  return parts;
}

bool GradientPass::IsPlace(const GradientPlace& place) const {
  if (place.sequence < 0 || place.sequence >= count()) return false;
  switch (place.phase) {
    case Phase::kForward:
    case Phase::kBackward:
      return place.block >= options_.first_block && place.block < last_boundary();
    case Phase::kLoss:
      return place.block == last_boundary();
    case Phase::kDone:
      return place.block == options_.first_block && place.sequence == 0;
  }
  return false;
}

absl::Status GradientPass::Load(const GradientPlace& place, const StateSource& source) {
  if (!IsPlace(place)) {
    return InvalidInput(
        "CHECKPOINT_MALFORMED",
        absl::StrFormat("the checkpoint is at phase %d, block %d and sequence %d of gradients of blocks "
                        "%d to %d of %d sequences",
                        static_cast<int>(place.phase), place.block, place.sequence, options_.first_block,
                        last_boundary() - 1, count()));
  }
  place_ = place;
  ASSIGN_OR_RETURN(const StateTensors losses, source(LossesName()));
  RETURN_IF_ERROR(losses.Load(kLosses, absl::MakeSpan(losses_)));
  for (int b = options_.first_block; b <= last_boundary(); ++b) {
    const bool gone = !options_.keep_gradients && (place_.phase == Phase::kDone || b > place_.block + 1) &&
                      place_.phase != Phase::kForward && b > options_.first_block;
    if (gone) boundaries_[b - options_.first_block].reset();
    const Content content = ContentOf(b);
    if (content.gradients + content.activations == 0) continue;
    ASSIGN_OR_RETURN(const StateTensors saved, source(PartName(b)));
    RETURN_IF_ERROR(saved.Load(kValues, boundary(b).values()));
  }
  return absl::OkStatus();
}

}  // namespace quantd
