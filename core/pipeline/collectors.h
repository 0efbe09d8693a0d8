// The sensitivities that one pass through a block gathers.
#ifndef QUANTD_CORE_PIPELINE_COLLECTORS_H_
#define QUANTD_CORE_PIPELINE_COLLECTORS_H_

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/compute/execution_context.h"
#include "core/model/transformer.h"
#include "core/quant/recipe.h"
#include "core/quant/sensitivity.h"
#include "core/tensor/state_tensor.h"

namespace quantd {

// How an observer ends a pass that has seen all it wants: the reason of the status that ForwardBlock then returns.
inline constexpr char kCollected[] = "COLLECTED";

// One collector a site, or one an input where sites may share it. Thread-compatible.
class Collectors : public InputObserver, public GradientObserver {
 public:
  explicit Collectors(const ExecutionContext& context) : context_(context) {}

  absl::Status Add(const SitePlan& plan);
  bool needs_inputs() const { return last_index_ >= 0; }
  bool needs_gradients() const { return needs_gradients_; }
  absl::Status OnInput(const LinearSite& site, const MatrixView& input) override;
  absl::Status OnGradient(const LinearSite& site, const MatrixView& x, const MatrixView& delta) override;

  // The sensitivity of a site; the matrix lives until the next call for another site.
  absl::StatusOr<const Matrix*> Finish(const SitePlan& plan);
  std::optional<double> PrecisionDifference(const SitePlan& plan) const;

  // What all of them have gathered, and its inverse for the same plans. CHECKPOINT_MALFORMED.
  StateTensors SaveState() const;
  absl::Status LoadState(const StateTensors& saved);

 private:
  using Key = std::pair<int, int>;  // input group, site or -1
  struct Collector {
    int site_index;
    std::unique_ptr<Sensitivity> sensitivity;
  };
  static std::string Prefix(const Key& key);

  const ExecutionContext& context_;
  std::map<Key, Collector> collectors_;
  std::map<int, Key> keys_;  // by site index
  int last_index_ = -1;
  bool needs_gradients_ = false;
  Key finished_key_;
  bool finished_ = false;
  Matrix matrix_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_PIPELINE_COLLECTORS_H_
