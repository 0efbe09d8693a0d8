#include "core/pipeline/quantize_model.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/base/status.h"
#include "core/eval/activation_store.h"
#include "core/quant/sensitivity.h"

namespace quantd {
namespace {

constexpr char kCollected[] = "COLLECTED";  // how an observer ends a pass that has seen all it wants

// Sensitivity collectors of one pass through a block: one a site, or one an input where they may be shared.
class Collectors : public InputObserver {
 public:
  explicit Collectors(const ExecutionContext& context) : context_(context) {}

  absl::Status Add(const SitePlan& plan) {
    ASSIGN_OR_RETURN(std::unique_ptr<Sensitivity> sensitivity, MakeSensitivity(plan));
    const Key key{plan.site.input_group, sensitivity->shareable() ? -1 : plan.site.index};
    if (sensitivity->needs_inputs()) last_index_ = std::max(last_index_, plan.site.index);
    keys_[plan.site.index] = key;
    // The first site of an input collects for all that share it.
    if (collectors_.find(key) == collectors_.end()) collectors_[key] = {plan.site.index, std::move(sensitivity)};
    return absl::OkStatus();
  }

  bool needs_inputs() const { return last_index_ >= 0; }

  absl::Status OnInput(const LinearSite& site, const MatrixView& input) override {
    for (auto& [key, collector] : collectors_) {
      if (collector.site_index != site.index || !collector.sensitivity->needs_inputs()) continue;
      RETURN_IF_ERROR(WithContext(collector.sensitivity->AddInputs(context_, input), site.name));
    }
    if (site.index < last_index_) return absl::OkStatus();
    return ReasonError(absl::StatusCode::kAborted, kCollected, "");
  }

  // The sensitivity of a site; the matrix lives until the next call for another key.
  absl::StatusOr<const Matrix*> Finish(const SitePlan& plan) {
    const Key key = keys_.at(plan.site.index);
    if (finished_key_ != key || !finished_) {
      ASSIGN_OR_RETURN(matrix_, collectors_.at(key).sensitivity->Finish(context_));
      finished_key_ = key;
      finished_ = true;
    }
    return &matrix_;
  }

 private:
  using Key = std::pair<int, int>;  // input group, site or -1
  struct Collector {
    int site_index;
    std::unique_ptr<Sensitivity> sensitivity;
  };
  const ExecutionContext& context_;
  std::map<Key, Collector> collectors_;
  std::map<int, Key> keys_;  // by site index
  int last_index_ = -1;
  Key finished_key_;
  bool finished_ = false;
  Matrix matrix_;
};

double BlockWork(const Transformer& model, int block, int64_t tokens) {
  double weights = 0;
  for (const LinearSite& site : model.block_sites(block)) weights += static_cast<double>(site.rows * site.cols);
  return weights * static_cast<double>(tokens);
}

double SolveWork(const LinearSite& site) {
  const double rows = static_cast<double>(site.rows), cols = static_cast<double>(site.cols);
  return rows * cols * cols / 2 + cols * cols * cols / 3;
}

// Sites of a block in the order in which they are measured and quantized: all at once, or input by input.
std::vector<std::vector<const SitePlan*>> Passes(absl::Span<const SitePlan> plans) {
  std::vector<std::vector<const SitePlan*>> passes;
  int last_group = -1;
  for (const SitePlan& plan : plans) {
    if (plan.skip) continue;
    const bool own_pass = plan.parameters.Bool("true_sequential") && plan.site.input_group != last_group;
    if (passes.empty() || own_pass) passes.emplace_back();
    passes.back().push_back(&plan);
    last_group = plan.site.input_group;
  }
  return passes;
}

class BlockQuantizer {
 public:
  BlockQuantizer(const ExecutionContext& context, const Transformer& model, const QuantizeOptions& options,
                 Progress& progress)
      : context_(context), model_(model), options_(options), progress_(progress) {}

  absl::Status Prepare() {
    if (options_.calibration.empty()) return absl::OkStatus();
    const int64_t length = static_cast<int64_t>(options_.calibration[0].size());
    const ActivationStoreOptions store_options{context_.memory_budget_bytes() / 2, options_.scratch_directory};
    ASSIGN_OR_RETURN(ActivationStore store,
                     ActivationStore::Create(static_cast<int64_t>(options_.calibration.size()), length,
                                             model_.config().hidden_size, store_options));
    boundary_ = std::make_unique<ActivationStore>(std::move(store));
    scratch_ = Matrix(length, model_.config().hidden_size);
    for (int64_t s = 0; s < boundary_->sequences(); ++s) {
      RETURN_IF_ERROR(model_.Embed(context_, options_.calibration[s], 0, boundary_->sequence(s)));
      boundary_->Release(s);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<QuantizedSite>> Run(int index) {
    ASSIGN_OR_RETURN(Block block, model_.LoadBlock(index));
    const absl::Span<const SitePlan> plans =
        options_.plans.subspan(static_cast<size_t>(model_.block_sites(index).data() - model_.sites().data()),
                               model_.block_sites(index).size());
    std::vector<QuantizedSite> done;
    for (const auto& pass : Passes(plans)) {
      RETURN_IF_ERROR(RunPass(block, pass, done));
    }
    const bool last = index + 1 == model_.config().blocks;
    if (boundary_ != nullptr && !last) RETURN_IF_ERROR(Advance(block));
    return done;
  }

 private:
  absl::Status RunPass(Block& block, const std::vector<const SitePlan*>& pass, std::vector<QuantizedSite>& done) {
    Collectors collectors(context_);
    for (const SitePlan* plan : pass) RETURN_IF_ERROR(collectors.Add(*plan));
    if (collectors.needs_inputs()) RETURN_IF_ERROR(Collect(block, collectors));
    for (const SitePlan* plan : pass) {
      RETURN_IF_ERROR(progress_.SetLayer(plan->site.name));
      ASSIGN_OR_RETURN(const Matrix* hessian, collectors.Finish(*plan));
      Matrix& weight = block.linears[static_cast<size_t>(plan->site.index)].weight;
      ASSIGN_OR_RETURN(SiteResult result, QuantizeSite(context_, *plan, weight.view(), *hessian));
      weight = result.weight->Decode();
      done.push_back({plan, std::move(result)});
      RETURN_IF_ERROR(progress_.Advance(SolveWork(plan->site)));
    }
    return absl::OkStatus();
  }

  // Runs the block on copies of the boundary until the collectors have seen what they want.
  absl::Status Collect(const Block& block, Collectors& collectors) {
    for (int64_t s = 0; s < boundary_->sequences(); ++s) {
      const MatrixView input = boundary_->sequence(s);
      std::copy(input.data, input.data + input.rows * input.cols, scratch_.data());
      const absl::Status status = model_.ForwardBlock(context_, block, {.observer = &collectors}, scratch_.view());
      if (!status.ok() && ReasonOf(status) != kCollected) return status;
      boundary_->Release(s);
      RETURN_IF_ERROR(progress_.Advance(BlockWork(model_, block.index, input.rows)));
    }
    return absl::OkStatus();
  }

  absl::Status Advance(const Block& block) {
    for (int64_t s = 0; s < boundary_->sequences(); ++s) {
      const MutableMatrixView hidden = boundary_->sequence(s);
      RETURN_IF_ERROR(model_.ForwardBlock(context_, block, {}, hidden));
      boundary_->Release(s);
      RETURN_IF_ERROR(progress_.Advance(BlockWork(model_, block.index, hidden.rows)));
    }
    return absl::OkStatus();
  }

  const ExecutionContext& context_;
  const Transformer& model_;
  const QuantizeOptions& options_;
  Progress& progress_;
  std::unique_ptr<ActivationStore> boundary_;  // null: no plan needs data
  Matrix scratch_;
};

}  // namespace

absl::Status QuantizeModel(const ExecutionContext& context, const Transformer& model, const QuantizeOptions& options,
                           Progress& progress, const BlockSink& sink) {
  BlockQuantizer quantizer(context, model, options, progress);
  RETURN_IF_ERROR(progress.BeginPhase("calibrate"));
  RETURN_IF_ERROR(quantizer.Prepare());
  RETURN_IF_ERROR(progress.BeginPhase("quantize"));
  for (int block = 0; block < model.config().blocks; ++block) {
    ASSIGN_OR_RETURN(std::vector<QuantizedSite> sites, quantizer.Run(block));
    RETURN_IF_ERROR(sink(block, std::move(sites)));
    RETURN_IF_ERROR(progress.SetBlock(block + 1));
  }
  return absl::OkStatus();
}

double QuantizeWork(const Transformer& model, absl::Span<const SitePlan> plans, int64_t calibration_tokens) {
  double work = 0;
  for (const SitePlan& plan : plans) work += plan.skip ? 0 : SolveWork(plan.site);
  for (int block = 0; block < model.config().blocks && calibration_tokens > 0; ++block) {
    const size_t begin = static_cast<size_t>(model.block_sites(block).data() - model.sites().data());
    const size_t passes = Passes(plans.subspan(begin, model.block_sites(block).size())).size();
    work += BlockWork(model, block, calibration_tokens) * static_cast<double>(passes + 1);
  }
  return work;
}

}  // namespace quantd
