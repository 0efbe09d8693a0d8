#include "core/pipeline/block_gradients.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
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

double Weights(const Transformer& model, int block) {
  double weights = 0;
  for (const LinearSite& site : model.block_sites(block)) weights += static_cast<double>(site.rows * site.cols);
  return weights;
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
  double work = kBackwardWork * static_cast<double>(config.vocabulary_size * config.embedding_size);
  for (int block = first_block; block < config.blocks; ++block) work += (1 + kBackwardWork) * Weights(model, block);
  return work * static_cast<double>(tokens);
}

double BlockGradientWork(const Transformer& model, int block, int64_t tokens) {
  return kBackwardWork * Weights(model, block) * static_cast<double>(tokens);
}

double GradientBytes(const Transformer& model, int64_t tokens) {
  const ModelConfig& config = model.config();
  return 4.0 * static_cast<double>((config.blocks + 1) * config.hidden_size * tokens);
}

absl::StatusOr<std::unique_ptr<BlockGradients>> BlockGradients::Create(const ExecutionContext& context,
                                                                       const Transformer& model,
                                                                       BlockGradientsOptions options) {
  std::unique_ptr<BlockGradients> gradients(new BlockGradients(context, model, std::move(options)));
  if (gradients->options_.plan.hessian_model != HessianModel::kPrefix) {
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
  options.store = {context_.memory_budget_bytes() / 2, options_.scratch_directory};
  return GradientPass::Create(context_, model_, options_.sequences, std::move(options));
}

absl::Status BlockGradients::NewOriginalInputs() {
  std::vector<int64_t> lengths;
  for (const TokenSequence& sequence : options_.sequences) lengths.push_back(static_cast<int64_t>(sequence.size()));
  ASSIGN_OR_RETURN(ActivationStore store,
                   ActivationStore::Create(lengths, model_.config().hidden_size,
                                           {context_.memory_budget_bytes() / 4, options_.scratch_directory}));
  original_inputs_ = std::make_unique<ActivationStore>(std::move(store));
  for (int64_t s = 0; s < original_inputs_->sequences(); ++s) {
    RETURN_IF_ERROR(model_.Embed(context_, options_.sequences[s], 0, original_inputs_->sequence(s)));
    original_inputs_->Release(s);
  }
  return absl::OkStatus();
}

absl::Status BlockGradients::RunPass(GradientPass& pass, int first_block, const Step& step) {
  const double total = GradientPassWork(model_, first_block, pass.boundary(model_.config().blocks).tokens());
  double done = -1;  // of the share, when the pass began; known after its first step
  const auto report = [&](double share) {
    const double before = std::exchange(done, share);
    return step(before < 0 ? 0 : total * (share - before));
  };
  return pass.Run(nullptr, report);
}

absl::Status BlockGradients::Prepare(const Step& step) {
  if (!pass_.has_value()) return absl::OkStatus();
  const GradientPlace& place = pass_->place();
  const bool begins = place.phase == GradientPlace::Phase::kForward && place.block == 0 && place.sequence == 0;
  if (begins) RETURN_IF_ERROR(pass_->Embed());
  return RunPass(*pass_, 0, step);
}

absl::Status BlockGradients::BeginPass(const Block& block, const ActivationStore& inputs, const Step& step) {
  if (keeps_original() && (!original_.has_value() || original_->index != block.index)) {
    ASSIGN_OR_RETURN(original_, model_.LoadBlock(block.index));
  }
  if (options_.plan.hessian_model != HessianModel::kPrefix) return absl::OkStatus();
  ASSIGN_OR_RETURN(pass_, NewPass(block.index + 1));
  for (int64_t s = 0; s < inputs.sequences(); ++s) {
    const MutableMatrixView output = pass_->boundary(block.index + 1).sequence(s);
    Copy(inputs.sequence(s), output);
    RETURN_IF_ERROR(model_.ForwardBlock(context_, block, {}, output));
    inputs.Release(s);
  }
  return RunPass(*pass_, block.index + 1, step);
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
  return step(Weights(model_, block) * static_cast<double>(original_inputs_->tokens()));
}

// ---- Saving and loading.

const GradientPlace& BlockGradients::place() const {
  static const GradientPlace kNone = {.phase = GradientPlace::Phase::kDone};
  return options_.plan.hessian_model == HessianModel::kPrefix ? kNone : pass_->place();
}

std::vector<StatePart> BlockGradients::Save(int block) const {
  if (options_.plan.hessian_model == HessianModel::kPrefix) return {};
  std::vector<StatePart> parts = pass_->Save();
  if (!keeps_original() || block == 0) return parts;
  parts.push_back(
      {OriginalPartName(block), [this] {
         const ActivationStore& store = *original_inputs_;
         return StateTensors({StateOf<float>(kActivations, store.values(), {store.tokens(), store.width()})});
       }});
  return parts;
}

absl::Status BlockGradients::Load(const GradientPlace& place, int block, const StateSource& source) {
  if (options_.plan.hessian_model == HessianModel::kPrefix) return absl::OkStatus();
  RETURN_IF_ERROR(pass_->Load(place, source));
  if (!keeps_original() || block == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const StateTensors saved, source(OriginalPartName(block)));
  return saved.Load(kActivations, original_inputs_->values());
}

}  // namespace quantd
