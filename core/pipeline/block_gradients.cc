#include "core/pipeline/block_gradients.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/pipeline/quantize_work.h"
#include "core/quant/sensitivity.h"

namespace quantd {
namespace {

constexpr char kActivations[] = "activations";

// Of one multiply-add of a forward pass: backward the block is run again and the gradient is multiplied once more by
// every weight.
constexpr double kBackwardWork = 2;

GradientPlan PlanOf(const Parameters& parameters) {
  const std::string& model = parameters.Text("hessian_model");
  return {.hessian_model = model == "full"     ? HessianModel::kFull
                           : model == "prefix" ? HessianModel::kPrefix
                                               : HessianModel::kBoundary,
          .labels = parameters.Text("labels") == "sampled" ? LabelSource::kSampled : LabelSource::kData};
}

void Copy(const MatrixView& from, MutableMatrixView to) {
  for (int64_t row = 0; row < from.rows; ++row) std::copy_n(from.row(row), from.cols, to.row(row));
}

std::string OriginalPartName(int block) {
  return absl::StrFormat("original-%05d", block);
}

// Several passes have boundaries of the same numbers: theirs come first among the numbers of a part's name.
std::string BehindPartName(int block, int pass, const std::string& part) {
  const size_t numbers = part.find_first_of("0123456789");
  return absl::StrFormat("%s%05d-%02d-%s", part.substr(0, numbers), block, pass, part.substr(numbers));
}

bool Begins(const GradientPass& pass, int first_block) {
  const GradientPlace& place = pass.place();
  return place.phase <= GradientPlace::Phase::kLoss && place.block == first_block && place.sequence == 0;
}

int64_t TokensOf(absl::Span<const TokenSequence> sequences) {
  int64_t tokens = 0;
  for (const TokenSequence& sequence : sequences) tokens += static_cast<int64_t>(sequence.size());
  return tokens;
}

}  // namespace

absl::StatusOr<std::optional<GradientPlan>> GradientPlanOf(absl::Span<const SitePlan> plans) {
  const SitePlan* first = nullptr;
  for (const SitePlan& plan : plans) {
    if (!NeedsGradients(plan)) continue;
    if (first == nullptr) first = &plan;
    for (const char* name : {"hessian_model", "labels"}) {
      const std::string &here = plan.parameters.Text(name), &there = first->parameters.Text(name);
      if (here == there) continue;
      return WithField(InvalidInput("RECIPE_ILLEGAL_COMBINATION",
                                    absl::StrFormat("%s has %s '%s' and %s has '%s'; gradients are computed for the "
                                                    "whole model at once: set it for all layers",
                                                    first->site.name, name, there, plan.site.name, here)),
                       absl::StrFormat("recipe.overrides.%s", name));
    }
  }
  if (first == nullptr) return std::nullopt;
  return PlanOf(first->parameters);
}

double GradientPassWork(const Transformer& model, int first_block, int64_t tokens) {
  const ModelConfig& config = model.config();
  double work = kBackwardWork * static_cast<double>(config.vocabulary_size * config.embedding_size * tokens);
  for (int block = first_block; block < config.blocks; ++block) {
    work += (1 + kBackwardWork) * BlockWork(model, block, tokens);
  }
  return work;
}

double BlockGradientWork(const Transformer& model, int block, int64_t tokens) {
  return kBackwardWork * BlockWork(model, block, tokens);
}

absl::StatusOr<std::unique_ptr<BlockGradients>> BlockGradients::Create(const ExecutionContext& context,
                                                                       const Transformer& model,
                                                                       BlockGradientsOptions options) {
  std::unique_ptr<BlockGradients> gradients(new BlockGradients(context, model, std::move(options)));
  if (!gradients->anew()) {
    ASSIGN_OR_RETURN(gradients->pass_, gradients->NewPass(0));
  }
  if (gradients->keeps_original()) RETURN_IF_ERROR(gradients->NewOriginalInputs());
  return gradients;
}

absl::StatusOr<GradientPass> BlockGradients::NewPass(int first_block) const {
  GradientPassOptions options;
  options.labels = options_.plan.labels;
  options.seed = options_.seed;
  options.first_block = first_block;
  options.keep_gradients = true;
  const int64_t boundary_bytes = 4 * TokensOf(options_.sequences) * model_.config().hidden_size;
  options.store = {GradientBytesInMemory(context_.memory_budget_bytes(), static_cast<uint64_t>(boundary_bytes)),
                   options_.scratch_directory};
  return GradientPass::Create(context_, model_, options_.sequences, std::move(options));
}

absl::Status BlockGradients::NewOriginalInputs() {
  std::vector<int64_t> lengths;
  for (const TokenSequence& sequence : options_.sequences) lengths.push_back(static_cast<int64_t>(sequence.size()));
  const ActivationStoreOptions options{SharesOf(context_.memory_budget_bytes(), true).original_activations,
                                       options_.scratch_directory};
  ASSIGN_OR_RETURN(ActivationStore store, ActivationStore::Create(lengths, model_.config().hidden_size, options));
  original_inputs_ = std::make_unique<ActivationStore>(std::move(store));
  for (int64_t s = 0; s < original_inputs_->sequences(); ++s) {
    RETURN_IF_ERROR(model_.Embed(context_, options_.sequences[s], 0, original_inputs_->sequence(s)));
    original_inputs_->Release(s);
  }
  return absl::OkStatus();
}

absl::Status BlockGradients::RunPass(GradientPass& pass, int first_block, const Step& step) {
  const double total = GradientPassWork(model_, first_block, TokensOf(options_.sequences));
  // What an earlier run has done was counted there; how much it was is known after the first step.
  double done = Begins(pass, first_block) ? 0 : -1;
  const auto report = [&](double share) {
    const double before = std::exchange(done, share);
    return step(before < 0 ? 0 : total * (share - before));
  };
  return pass.Run(nullptr, report);
}

absl::Status BlockGradients::Prepare(const Step& step) {
  if (!pass_.has_value()) return absl::OkStatus();
  if (Begins(*pass_, 0)) RETURN_IF_ERROR(pass_->Embed());
  RETURN_IF_ERROR(RunPass(*pass_, 0, step));
  KeepFor(first_block_);
  return absl::OkStatus();
}

// A block needs the gradient at its output. Of a pass that is done, or will have loaded such a place.
void BlockGradients::KeepFor(int block) {
  pass_->KeepOnly(block + 1, anew() ? block + 1 : model_.config().blocks);
}

absl::Status BlockGradients::BeginRound(const Block& block, int pass, const ActivationStore& inputs, const Step& step) {
  if (keeps_original() && (!original_.has_value() || original_->index != block.index)) {
    ASSIGN_OR_RETURN(original_, model_.LoadBlock(block.index));
  }
  if (!anew() || pass_.has_value()) return absl::OkStatus();
  pass_number_ = pass;
  ASSIGN_OR_RETURN(pass_, NewPass(block.index + 1));
  if (saved_pass_.has_value()) {
    const SavedPass saved = *std::exchange(saved_pass_, std::nullopt);
    if (saved.place.phase == GradientPlace::Phase::kDone) KeepFor(block.index);
    RETURN_IF_ERROR(pass_->Load(saved.place, saved.source));
  } else {
    RETURN_IF_ERROR(BeginBehind(block, inputs));
    RETURN_IF_ERROR(step(BlockWork(model_, block.index, inputs.tokens())));
  }
  RETURN_IF_ERROR(RunPass(*pass_, block.index + 1, step));
  KeepFor(block.index);
  return absl::OkStatus();
}

// What the block, as it is, gives the one after it.
absl::Status BlockGradients::BeginBehind(const Block& block, const ActivationStore& inputs) {
  for (int64_t s = 0; s < inputs.sequences(); ++s) {
    const MutableMatrixView output = pass_->boundary(block.index + 1).sequence(s);
    Copy(inputs.sequence(s), output);
    RETURN_IF_ERROR(model_.ForwardBlock(context_, block, {}, output));
    inputs.Release(s);
  }
  return absl::OkStatus();
}

void BlockGradients::EndPass() {
  if (anew()) pass_.reset();
}

absl::Status BlockGradients::Observe(const Block& block, int64_t sequence, const MatrixView& input,
                                     GradientObserver* observer) {
  const ActivationStore& gradients = pass_->boundary(block.index + 1);
  gradient_ = Matrix::CopyOf(gradients.sequence(sequence));
  gradients.Release(sequence);
  const BackwardOptions options = {.observer = observer, .input_gradient = false};
  if (!keeps_original()) return model_.BackwardBlock(context_, block, options, input, gradient_.view());
  const ActivationStore& originals = *original_inputs_;
  RETURN_IF_ERROR(model_.BackwardBlock(context_, *original_, options, originals.sequence(sequence), gradient_.view()));
  originals.Release(sequence);
  return absl::OkStatus();
}

absl::Status BlockGradients::EndBlock(int block, const Step& step) {
  if (pass_.has_value()) KeepFor(block + 1);
  if (!keeps_original() || block + 1 == model_.config().blocks) return absl::OkStatus();
  if (!original_.has_value() || original_->index != block) {
    ASSIGN_OR_RETURN(original_, model_.LoadBlock(block));
  }
  for (int64_t s = 0; s < original_inputs_->sequences(); ++s) {
    const MutableMatrixView hidden = original_inputs_->sequence(s);
    RETURN_IF_ERROR(model_.ForwardBlock(context_, *original_, {}, hidden));
    original_inputs_->Release(s);
  }
  original_.reset();
  return step(BlockWork(model_, block, original_inputs_->tokens()));
}

// ---- Saving and loading.

std::vector<StatePart> BlockGradients::Save(int block) const {
  if (!pass_.has_value()) return {};
  std::vector<StatePart> parts = pass_->Save();
  if (anew()) {
    for (StatePart& part : parts) part.name = BehindPartName(block, pass_number_, part.name);
  }
  if (!keeps_original() || block == 0) return parts;
  parts.push_back(
      {OriginalPartName(block), [this] {
         const ActivationStore& store = *original_inputs_;
         return StateTensors({StateOf<float>(kActivations, store.values(), {store.tokens(), store.width()})});
       }});
  return parts;
}

absl::Status BlockGradients::Load(const SavedGradients& saved, const StateSource& source) {
  if (anew()) {
    if (saved.place.block <= saved.block) return absl::OkStatus();  // none had begun
    saved_pass_ = {saved.place, [source, block = saved.block, pass = saved.pass](const std::string& part) {
                     return source(BehindPartName(block, pass, part));
                   }};
    return absl::OkStatus();
  }
  first_block_ = saved.block;
  if (saved.place.phase == GradientPlace::Phase::kDone) KeepFor(first_block_);
  RETURN_IF_ERROR(pass_->Load(saved.place, source));
  if (!keeps_original() || saved.block == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const StateTensors original, source(OriginalPartName(saved.block)));
  return original.Load(kActivations, original_inputs_->values());
}

}  // namespace quantd
