#include "core/pipeline/block_quantizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/quant/sensitivity.h"

namespace quantd {
namespace {

constexpr char kActivations[] = "activations";

std::string BoundaryPartName(const QuantizePlace& place) {
  return absl::StrFormat("boundary-%05d-%05d", place.block, place.advancing ? place.sequences : 0);
}

std::string StatisticsPartName(const QuantizePlace& place) {
  return absl::StrFormat("statistics-%05d-%02d-%02d-%02d-%05d", place.block, place.pass, place.round_first,
                         place.round_layers, place.sequences);
}

// The weight owns nothing that could be pointed at: the tensors are made, and kept with the part.
StateTensors WeightTensors(const QuantizedWeight& weight) {
  const auto stored = std::make_shared<const std::vector<StoredTensor>>(weight.ToTensors());
  std::vector<StateTensor> tensors;
  for (const StoredTensor& tensor : *stored) {
    tensors.push_back({tensor.suffix, tensor.dtype, tensor.shape, {tensor.bytes.data(), tensor.bytes.size()}});
  }
  return StateTensors(std::move(tensors), stored);
}

absl::Status WrongPlace(absl::string_view what) {
  return InvalidInput("CHECKPOINT_MALFORMED", absl::StrCat("the checkpoint's place is not one of this job: ", what));
}

}  // namespace

std::string LayerPartName(const LinearSite& site) {
  return absl::StrFormat("layer-%05d-%02d", site.block, site.index);
}

BlockQuantizer::BlockQuantizer(const ExecutionContext& context, const Transformer& model,
                               const QuantizeOptions& options, Progress& progress)
    : context_(context), model_(model), options_(options), progress_(progress) {}

// Every number of the saved place is one that this job reaches, and the sites are the first ones of its block.
absl::Status BlockQuantizer::CheckSaved() const {
  const QuantizePlace& place = options_.saved->place;
  const std::vector<QuantizedSite>& sites = options_.saved->sites;
  if (place.block < 0 || place.block > model_.config().blocks) return WrongPlace("block");
  const int64_t sequences = static_cast<int64_t>(options_.calibration.size());
  if (place.sequences < 0 || place.sequences > sequences) return WrongPlace("sequences");
  if (place.block == model_.config().blocks) return sites.empty() ? absl::OkStatus() : WrongPlace("layers");
  const std::vector<SitePlans> passes = PassesOf(place.block);
  if (place.pass < 0 || place.pass > static_cast<int>(passes.size())) return WrongPlace("pass");
  if (place.advancing && place.pass < static_cast<int>(passes.size())) return WrongPlace("advancing");
  RETURN_IF_ERROR(CheckSavedRound(passes));
  SitePlans order;
  for (const SitePlans& pass : passes) order.insert(order.end(), pass.begin(), pass.end());
  for (size_t i = 0; i < sites.size(); ++i) {
    if (sites[i].plan != order[i]) return WrongPlace("order of layers");
  }
  return absl::OkStatus();
}

// The round lies within its pass, and as many sites are done as are before it, or some of its own.
absl::Status BlockQuantizer::CheckSavedRound(const std::vector<SitePlans>& passes) const {
  const QuantizePlace& place = options_.saved->place;
  const int64_t in_pass =
      place.pass < static_cast<int>(passes.size()) ? static_cast<int64_t>(passes[place.pass].size()) : 0;
  const int64_t first = place.round_first, layers = place.round_layers;
  if (first < 0 || layers < 0 || first + std::max<int64_t>(layers, in_pass > 0) > in_pass) return WrongPlace("round");
  if (layers == 0 && place.sequences > 0 && !place.advancing) return WrongPlace("round");
  int64_t before = first;
  for (int p = 0; p < place.pass; ++p) before += static_cast<int64_t>(passes[p].size());
  const int64_t done = static_cast<int64_t>(options_.saved->sites.size());
  // The last one ends the round.
  return done == before || (done > before && done < before + layers) ? absl::OkStatus() : WrongPlace("layers");
}

bool BlockQuantizer::BoundaryIsEmbedding() const {
  return place_.block == 0 && !(place_.advancing && place_.sequences > 0);
}

absl::Status BlockQuantizer::Prepare() {
  if (options_.saved != nullptr) {
    RETURN_IF_ERROR(CheckSaved());
    place_ = options_.saved->place;
    sites_ = std::move(options_.saved->sites);
  }
  if (options_.calibration.empty() || done()) return absl::OkStatus();
  RETURN_IF_ERROR(PrepareBoundary());
  return PrepareGradients();
}

absl::Status BlockQuantizer::PrepareBoundary() {
  const int64_t length = static_cast<int64_t>(options_.calibration[0].size());
  const bool gradients = std::any_of(options_.plans.begin(), options_.plans.end(), NeedsGradients);
  const ActivationStoreOptions store_options{SharesOf(context_.memory_budget_bytes(), gradients).activations,
                                             options_.scratch_directory};
  ASSIGN_OR_RETURN(ActivationStore store, ActivationStore::Create(static_cast<int64_t>(options_.calibration.size()),
                                                                  length, model_.config().hidden_size, store_options));
  boundary_ = std::make_unique<ActivationStore>(std::move(store));
  scratch_ = Matrix(length, model_.config().hidden_size);
  if (!BoundaryIsEmbedding()) {
    ASSIGN_OR_RETURN(const StateTensors saved, options_.saved->part(BoundaryPartName(place_)));
    return saved.Load(kActivations, boundary_->values());
  }
  for (int64_t s = 0; s < boundary_->sequences(); ++s) {
    RETURN_IF_ERROR(model_.Embed(context_, options_.calibration[s], 0, boundary_->sequence(s)));
    boundary_->Release(s);
  }
  return absl::OkStatus();
}

absl::Status BlockQuantizer::PrepareGradients() {
  ASSIGN_OR_RETURN(const std::optional<GradientPlan> plan, GradientPlanOf(options_.plans));
  if (!plan.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(gradients_, BlockGradients::Create(context_, model_,
                                                      {.plan = *plan,
                                                       .sequences = options_.calibration,
                                                       .seed = options_.seed,
                                                       .scratch_directory = options_.scratch_directory}));
  if (options_.saved != nullptr) {
    RETURN_IF_ERROR(gradients_->Load({place_.gradients, place_.block, place_.pass}, options_.saved->part));
  }
  return gradients_->Prepare([this](double multiply_adds) { return GradientStep(multiply_adds); });
}

// "gradients of the original model: backward, block 3 of 30, sequence 5 of 128". Behind a quantized block: "gradients
// behind block 3, pass 2 of 4: ...".
std::string BlockQuantizer::GradientText() const {
  constexpr const char* kPhases[] = {"forward", "loss", "backward", "done"};
  const GradientPlace place = gradients_->place();
  const int blocks = model_.config().blocks;
  std::string text = gradients_->whole_model()
                         ? "gradients of the original model"
                         : absl::StrFormat("gradients behind block %d, pass %d of %d", place_.block + 1,
                                           place_.pass + 1, PassesOf(place_.block).size());
  absl::StrAppend(&text, ": ", kPhases[static_cast<int>(place.phase)]);
  if (place.phase == GradientPlace::Phase::kDone) return text;
  if (place.block < blocks) absl::StrAppendFormat(&text, ", block %d of %d", place.block + 1, blocks);
  absl::StrAppendFormat(&text, ", sequence %d of %d", place.sequence + 1, options_.calibration.size());
  return text;
}

// "block 3, pass 2 of 4: gradients, sequence 5 of 128 done".
std::string BlockQuantizer::CollectText(bool gradients) const {
  return absl::StrFormat("block %d, pass %d of %d: %s, sequence %d of %d done", place_.block + 1, place_.pass + 1,
                         PassesOf(place_.block).size(), gradients ? "gradients" : "inputs", place_.sequences,
                         options_.calibration.size());
}

absl::Status BlockQuantizer::GradientStep(double multiply_adds) {
  progress_.NameLayer(GradientText());
  return Step(multiply_adds);
}

absl::Status BlockQuantizer::RunBlock(const BlockSink& sink) {
  ASSIGN_OR_RETURN(Block block, model_.LoadBlock(place_.block));
  const std::vector<SitePlans> passes = PassesOf(place_.block);
  for (int p = 0; p < place_.pass; ++p) TakeQuantized(block, passes[p]);
  while (place_.pass < static_cast<int>(passes.size())) RETURN_IF_ERROR(RunPass(block, passes[place_.pass]));
  const bool last = place_.block + 1 == model_.config().blocks;
  if (boundary_ != nullptr && !last) RETURN_IF_ERROR(Advance(block));
  // No safe point in there: the gradients are then between two blocks.
  const auto count = [this](double multiply_adds) { return progress_.Advance(multiply_adds); };
  if (gradients_ != nullptr) RETURN_IF_ERROR(gradients_->EndBlock(place_.block, count));
  RETURN_IF_ERROR(sink(place_.block, std::exchange(sites_, {})));
  place_ = {.block = place_.block + 1};
  const absl::Status go_on = progress_.SetBlock(place_.block);
  RETURN_IF_ERROR(Offer(SafePoint::kBlockEnd));
  return go_on;
}

// All rounds measure the block as the pass found it.
absl::Status BlockQuantizer::RunPass(Block& block, const SitePlans& pass) {
  const int number = place_.pass;
  while (place_.pass == number) RETURN_IF_ERROR(RunRound(block, pass));
  TakeQuantized(block, pass);
  return absl::OkStatus();
}

void BlockQuantizer::TakeQuantized(Block& block, const SitePlans& pass) const {
  for (const QuantizedSite& site : sites_) {
    if (std::find(pass.begin(), pass.end(), site.plan) == pass.end()) continue;
    block.linears[static_cast<size_t>(site.plan->site.index)].weight = site.result.weight->Decode();
  }
}

// The one at the place: begun by an earlier run, or as many layers as fit.
SitePlans BlockQuantizer::NextRound(const SitePlans& pass) {
  const auto first = pass.begin() + place_.round_first;
  if (place_.round_layers == 0) {
    const MemoryShares shares = SharesOf(context_.memory_budget_bytes(), gradients_ != nullptr);
    place_.round_layers = static_cast<int>(Rounds({first, pass.end()}, shares.statistics).front().size());
  }
  return {first, first + place_.round_layers};
}

absl::Status BlockQuantizer::RunRound(Block& block, const SitePlans& pass) {
  const SitePlans round = NextRound(pass);
  const bool last = round.back() == pass.back();
  Collectors collectors(context_);
  for (const SitePlan* plan : round) RETURN_IF_ERROR(collectors.Add(*plan));
  gathered_ = &collectors;
  absl::Status status = Collect(block, last, collectors);
  if (status.ok()) status = QuantizeSites(block, round, last, collectors);
  gathered_ = nullptr;
  return status;
}

// Runs the block on copies of the boundary until the collectors have seen what they want.
absl::Status BlockQuantizer::Collect(const Block& block, bool last_round, Collectors& collectors) {
  if (place_.sequences > 0) {
    ASSIGN_OR_RETURN(const StateTensors saved, options_.saved->part(StatisticsPartName(place_)));
    RETURN_IF_ERROR(collectors.LoadState(saved));
  }
  const bool begin = collectors.needs_gradients() && place_.sequences < boundary_->sequences();
  if (begin || (gradients_ != nullptr && gradients_->interrupted())) {
    const auto step = [this](double multiply_adds) { return GradientStep(multiply_adds); };
    RETURN_IF_ERROR(gradients_->BeginRound(block, place_.pass, *boundary_, step));
  }
  if (!collectors.needs_inputs() && !collectors.needs_gradients()) return absl::OkStatus();
  for (int64_t s = place_.sequences; s < boundary_->sequences(); ++s) {
    RETURN_IF_ERROR(CollectSequence(block, s, collectors));
    boundary_->Release(s);
    place_.sequences = s + 1;
    const int64_t tokens = boundary_->sequence(s).rows;
    double work = collectors.needs_inputs() ? BlockWork(model_, block.index, tokens) : 0;
    if (collectors.needs_gradients()) work += BlockGradientWork(model_, block.index, tokens);
    if (gradients_ != nullptr && last_round && place_.sequences == boundary_->sequences()) gradients_->EndPass();
    progress_.NameLayer(CollectText(collectors.needs_gradients()));
    RETURN_IF_ERROR(Step(work));
  }
  return absl::OkStatus();
}

absl::Status BlockQuantizer::CollectSequence(const Block& block, int64_t sequence, Collectors& collectors) {
  const MatrixView input = boundary_->sequence(sequence);
  const std::string where = absl::StrFormat("sequence %d, block %d", sequence, block.index);
  if (collectors.needs_inputs()) {
    std::copy(input.data, input.data + input.rows * input.cols, scratch_.data());
    const absl::Status status = model_.ForwardBlock(context_, block, {.observer = &collectors}, scratch_.view());
    if (!status.ok() && ReasonOf(status) != kCollected) return WithContext(status, where);
  }
  if (!collectors.needs_gradients()) return absl::OkStatus();
  return WithContext(gradients_->Observe(block, sequence, input, &collectors), where);
}

absl::Status BlockQuantizer::QuantizeSites(const Block& block, const SitePlans& round, bool last_round,
                                           Collectors& collectors) {
  for (const SitePlan* plan : round) {
    const auto is_this = [&](const QuantizedSite& site) { return site.plan == plan; };
    if (std::any_of(sites_.begin(), sites_.end(), is_this)) continue;
    RETURN_IF_ERROR(progress_.SetLayer(plan->site.name));
    ASSIGN_OR_RETURN(const Matrix* hessian, collectors.Finish(*plan));
    const Matrix& weight = block.linears[static_cast<size_t>(plan->site.index)].weight;
    ASSIGN_OR_RETURN(SiteResult result, QuantizeSite(context_, *plan, weight.view(), *hessian));
    sites_.push_back({plan, std::move(result), collectors.PrecisionDifference(*plan)});
    if (plan == round.back()) EndRound(last_round);
    RETURN_IF_ERROR(Step(SolveWork(*plan)));
  }
  return absl::OkStatus();
}

void BlockQuantizer::EndRound(bool last_round) {
  if (last_round && gradients_ != nullptr) gradients_->EndPass();
  const int next = place_.round_first + place_.round_layers;
  place_ = {.block = place_.block, .pass = place_.pass + (last_round ? 1 : 0), .round_first = last_round ? 0 : next};
}

absl::Status BlockQuantizer::Advance(const Block& block) {
  place_.advancing = true;
  for (int64_t s = place_.sequences; s < boundary_->sequences(); ++s) {
    const MutableMatrixView hidden = boundary_->sequence(s);
    RETURN_IF_ERROR(model_.ForwardBlock(context_, block, {}, hidden));
    boundary_->Release(s);
    place_.sequences = s + 1;
    RETURN_IF_ERROR(Step(BlockWork(model_, block.index, hidden.rows)));
  }
  return absl::OkStatus();
}

absl::Status BlockQuantizer::Step(double multiply_adds) {
  const absl::Status go_on = progress_.Advance(multiply_adds);
  RETURN_IF_ERROR(Offer(SafePoint::kWithinBlock));
  return go_on;
}

absl::Status BlockQuantizer::Offer(SafePoint point) {
  if (!options_.safe_point) return absl::OkStatus();
  return options_.safe_point(point, [this] { return State(); });
}

QuantizeState BlockQuantizer::State() const {
  QuantizeState state{.place = place_, .parts = {}, .sites = sites_};
  if (boundary_ != nullptr && !done() && !BoundaryIsEmbedding()) {
    state.parts.push_back(
        {BoundaryPartName(place_), [this] {
           const ActivationStore& store = *boundary_;
           return StateTensors({StateOf<float>(kActivations, store.values(), {store.tokens(), store.width()})});
         }});
  }
  if (!place_.advancing && place_.sequences > 0) {
    state.parts.push_back({StatisticsPartName(place_), [this] { return gathered_->SaveState(); }});
  }
  if (gradients_ != nullptr && !done()) {
    state.place.gradients = gradients_->place();
    for (StatePart& part : gradients_->Save(place_.block)) state.parts.push_back(std::move(part));
  }
  for (const QuantizedSite& site : sites_) {
    state.parts.push_back(
        {LayerPartName(site.plan->site), [&weight = *site.result.weight] { return WeightTensors(weight); }});
  }
  return state;
}

}  // namespace quantd
