#include "core/quant/binary_coded_search.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace quantd {
namespace {

// Borders lie at whole and half points: they are counted in halves.
int BorderOf(int lower, int upper, bool two_roundings) {
  // With two roundings the integers up to (lower + upper) / 2 go down, and round() sends what is below half a point
  // more to the last of them.
  return two_roundings ? 2 * ((lower + upper) / 2) + 1 : lower + upper;
}

}  // namespace

std::vector<double> ScaleMultipliers(int count, double range) {
  if (count <= 1) return {1.0};
  std::vector<double> multipliers(count);
  for (int i = 0; i < count; ++i) multipliers[i] = 1 / range + (range - 1 / range) * i / (count - 1);
  return multipliers;
}

double BinaryCodes::offset(int planes) const {
  int sum = 0;
  for (int i = 0; i < planes; ++i) sum += book.steps[i];
  return scale * (book.base + sum / 2.0 - zero);
}

double BinaryCodes::Border(int lower, int upper) const {
  return scale * (BorderOf(lower, upper, two_roundings) / 2.0 - zero);
}

BinaryCodedSearch::BinaryCodedSearch(const BinarySearchOptions& options, const BinaryCodedKernels& kernels)
    : options_(options),
      kernels_(kernels),
      table_(CodebookTable::Get(options.linear_bits, options.planes, options.family)) {
  std::set<int> borders;
  for (const CodebookTable::Pair& pair : table_.pairs()) {
    pairs_.push_back({pair.lower, pair.upper, BorderOf(pair.lower, pair.upper, options_.two_roundings)});
    borders.insert(pairs_.back().border);
  }
  used_borders_.assign(borders.begin(), borders.end());
  const size_t points = size_t{1} << options_.linear_bits;
  lane_values_.resize(points * kScaleLanes);
  last_costs_.resize(points * kScaleLanes);
  lane_weights_.resize(2 * points * kScaleLanes);
  lane_products_.resize(2 * points * kScaleLanes);
  pair_costs_.resize(pairs_.size() * kScaleLanes);
}

BinaryCodes BinaryCodedSearch::Search(absl::Span<const float> weights, absl::Span<const float> costs) {
  weights_.resize(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) weights_[i] = {weights[i], costs[i]};
  return SearchPrepared();
}

BinaryCodes BinaryCodedSearch::Search(absl::Span<const double> weights, absl::Span<const double> costs) {
  weights_.resize(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) weights_[i] = {weights[i], costs[i]};
  return SearchPrepared();
}

void BinaryCodedSearch::Prepare() {
  const bool free = std::all_of(weights_.begin(), weights_.end(), [](const Weight& w) { return w.cost == 0; });
  std::sort(weights_.begin(), weights_.end(),
            [](const Weight& a, const Weight& b) { return a.value != b.value ? a.value < b.value : a.cost < b.cost; });
  weight_sums_.assign(weights_.size() + 1, 0);
  product_sums_.assign(weights_.size() + 1, 0);
  square_sum_ = 0;
  for (size_t k = 0; k < weights_.size(); ++k) {
    if (free) weights_[k].cost = 1;
    const auto [value, cost] = weights_[k];
    weight_sums_[k + 1] = weight_sums_[k] + cost;
    product_sums_[k + 1] = product_sums_[k] + cost * value;
    square_sum_ += cost * value * value;
  }
  lo_ = std::min(0.0, weights_.front().value);
  hi_ = std::max(0.0, weights_.back().value);
}

// Rising borders: the search goes on from where the one before ended.
void BinaryCodedSearch::SumBelow(double border, int64_t& from, double& weight_sum, double& product_sum) const {
  const auto end = std::lower_bound(weights_.begin() + from, weights_.end(), border,
                                    [](const Weight& w, double value) { return w.value < value; });
  from = end - weights_.begin();
  weight_sum = weight_sums_[from];
  product_sum = product_sums_[from];
}

double BinaryCodedSearch::CostOf(const BinaryCodes& codes) const {
  double cost = square_sum_;
  int64_t begin = 0;
  for (size_t i = 0; i < codes.book.points.size(); ++i) {
    const bool last = i + 1 == codes.book.points.size();
    int64_t end = begin;
    double unused_weight = 0;
    double unused_product = 0;
    if (!last)
      SumBelow(codes.Border(codes.book.points[i], codes.book.points[i + 1]), end, unused_weight, unused_product);
    if (last) end = static_cast<int64_t>(weights_.size());
    const double value = codes.ValueOf(codes.book.points[i]);
    cost +=
        value * (value * (weight_sums_[end] - weight_sums_[begin]) - 2 * (product_sums_[end] - product_sums_[begin]));
    begin = end;
  }
  return cost;
}

struct BinaryCodedSearch::Lanes {
  double scale[kScaleLanes];
  double zero[kScaleLanes];
};

void BinaryCodedSearch::TryLanes(int first, BinaryCodes& best) {
  const int count = std::min<int>(kScaleLanes, static_cast<int>(options_.multipliers.size()) - first);
  const double base_scale = (hi_ - lo_) / ((1 << options_.linear_bits) - 1);
  Lanes lanes;
  for (int lane = 0; lane < kScaleLanes; ++lane) {
    // Lanes beyond the last multiplier repeat it.
    lanes.scale[lane] = base_scale * options_.multipliers[first + std::min(lane, count - 1)];
    lanes.zero[lane] = std::nearbyint(-lo_ / (options_.refit_zero ? lanes.scale[lane] : base_scale));
  }
  const int points = 1 << options_.linear_bits;
  for (int lane = 0; lane < kScaleLanes; ++lane) {
    int64_t from = 0;
    for (const int border : used_borders_) {
      const int64_t at = int64_t{border} * kScaleLanes + lane;
      SumBelow(lanes.scale[lane] * (border / 2.0 - lanes.zero[lane]), from, lane_weights_[at], lane_products_[at]);
    }
    for (int point = 0; point < points; ++point) {
      const int64_t at = int64_t{point} * kScaleLanes + lane;
      const double value = lanes.scale[lane] * (point - lanes.zero[lane]);
      lane_values_[at] = value;
      last_costs_[at] = square_sum_ + value * (value * weight_sums_.back() - 2 * product_sums_.back());
    }
  }
  kernels_.pair_costs(pairs_.data(), static_cast<int64_t>(pairs_.size()), lane_values_.data(), lane_weights_.data(),
                      lane_products_.data(), pair_costs_.data());
  double least[kScaleLanes];
  int64_t which[kScaleLanes];
  kernels_.least_codebook(table_.pairs_of_books().data(), table_.last_points().data(),
                          static_cast<int64_t>(table_.books().size()), (1 << options_.planes) - 1, pair_costs_.data(),
                          last_costs_.data(), least, which);
  for (int lane = 0; lane < count; ++lane) {
    if (least[lane] >= best.cost) continue;
    const BinaryCodes codes = {.scale = lanes.scale[lane],
                               .zero = lanes.zero[lane],
                               .book = table_.books()[which[lane]],
                               .two_roundings = options_.two_roundings,
                               .cost = least[lane],
                               .multiplier = first + lane};
    if (CanBeStored(codes)) best = codes;
  }
}

bool BinaryCodedSearch::CanBeStored(const BinaryCodes& codes) const {
  if (std::abs(codes.offset(options_.planes)) > options_.largest_stored) return false;
  return codes.alpha(options_.planes - 1) <= options_.largest_stored;  // steps rise
}

void BinaryCodedSearch::TryUniform(BinaryCodes& best) const {
  const int top = (1 << options_.planes) - 1;
  const int step = ((1 << options_.linear_bits) - 1) / top;
  BinaryCodes uniform{.scale = (hi_ - lo_) / (top * step)};
  uniform.zero = step * std::nearbyint(-lo_ / (uniform.scale * step));
  for (int i = 0; i < options_.planes; ++i) uniform.book.steps[i] = step << i;
  for (int code = 0; code <= top; ++code) uniform.book.points.push_back(static_cast<uint16_t>(code * step));
  uniform.cost = CostOf(uniform);
  if (uniform.cost < best.cost) best = uniform;
}

BinaryCodes BinaryCodedSearch::SearchPrepared() {
  Prepare();
  if (lo_ == hi_) return {.book = table_.books().front()};  // all 0
  BinaryCodes best{.cost = std::numeric_limits<double>::infinity()};
  const int count = static_cast<int>(options_.multipliers.size());
  for (int first = 0; first < count; first += kScaleLanes) TryLanes(first, best);
  if (options_.with_uniform) TryUniform(best);
  return best;
}

}  // namespace quantd
