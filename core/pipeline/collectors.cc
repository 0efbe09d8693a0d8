#include "core/pipeline/collectors.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {

absl::Status Collectors::Add(const SitePlan& plan) {
  ASSIGN_OR_RETURN(std::unique_ptr<Sensitivity> sensitivity, MakeSensitivity(plan));
  const Key key{plan.site.input_group, sensitivity->shareable() ? -1 : plan.site.index};
  if (sensitivity->needs_inputs()) last_index_ = std::max(last_index_, plan.site.index);
  needs_gradients_ = needs_gradients_ || sensitivity->needs_gradients();
  keys_[plan.site.index] = key;
  // The first site of an input collects for all that share it.
  if (collectors_.find(key) == collectors_.end()) collectors_[key] = {plan.site.index, std::move(sensitivity)};
  return absl::OkStatus();
}

absl::Status Collectors::OnInput(const LinearSite& site, const MatrixView& input) {
  for (auto& [key, collector] : collectors_) {
    if (collector.site_index != site.index || !collector.sensitivity->needs_inputs()) continue;
    RETURN_IF_ERROR(collector.sensitivity->AddInputs(context_, input));
  }
  if (site.index < last_index_) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kAborted, kCollected, "");
}

absl::Status Collectors::OnGradient(const LinearSite& site, const MatrixView& x, const MatrixView& delta) {
  for (auto& [key, collector] : collectors_) {
    if (collector.site_index != site.index || !collector.sensitivity->needs_gradients()) continue;
    RETURN_IF_ERROR(collector.sensitivity->AddGradients(context_, x, delta));
  }
  return absl::OkStatus();
}

absl::StatusOr<const Matrix*> Collectors::Finish(const SitePlan& plan) {
  const Key key = keys_.at(plan.site.index);
  if (finished_key_ != key || !finished_) {
    ASSIGN_OR_RETURN(matrix_, collectors_.at(key).sensitivity->Finish(context_));
    finished_key_ = key;
    finished_ = true;
  }
  return &matrix_;
}

std::optional<double> Collectors::PrecisionDifference(const SitePlan& plan) const {
  return collectors_.at(keys_.at(plan.site.index)).sensitivity->precision_difference();
}

std::string Collectors::Prefix(const Key& key) {
  return absl::StrCat(key.first, ".", key.second < 0 ? "shared" : absl::StrCat(key.second), ".");
}

StateTensors Collectors::SaveState() const {
  std::vector<StateTensor> tensors;
  for (const auto& [key, collector] : collectors_) {
    for (StateTensor& tensor : collector.sensitivity->SaveState()) {
      tensor.name = Prefix(key) + tensor.name;
      tensors.push_back(std::move(tensor));
    }
  }
  return StateTensors(std::move(tensors));
}

absl::Status Collectors::LoadState(const StateTensors& saved) {
  for (auto& [key, collector] : collectors_) {
    RETURN_IF_ERROR(collector.sensitivity->LoadState(saved.Below(Prefix(key))));
  }
  return absl::OkStatus();
}

}  // namespace quantd
