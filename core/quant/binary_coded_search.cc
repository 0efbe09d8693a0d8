#include "core/quant/binary_coded_search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace quantd {
namespace {

// Borders lie at whole and half points: they are counted in halves.
int BorderOf(int lower, int upper, bool two_roundings) {
  // With two roundings the integers up to (lower + upper) / 2 go down, and round() sends what is below half a point
  // more to the last of them.
  return two_roundings ? 2 * ((lower + upper) / 2) + 1 : lower + upper;
}

}  // namespace

std::vector<double> ScaleMultipliers(int count, double least, double greatest) {
  if (count <= 1) return {1.0};
  std::vector<double> multipliers(count);
  for (int i = 0; i < count; ++i) multipliers[i] = least + (greatest - least) * i / (count - 1);
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
      table_(CodebookTable::Get(options.linear_bits, options.planes, options.family)),
      points_(1 << options.linear_bits),
      half_points_(2 * points_),
      weights_below_(half_points_ + 1),
      lane_values_(points_ * kScaleLanes),
      lane_weights_(half_points_ * kScaleLanes),
      lane_products_(half_points_ * kScaleLanes),
      pair_costs_(table_.pairs().size() * kScaleLanes),
      last_costs_(points_ * kScaleLanes) {
  for (const CodebookTable::Pair& pair : table_.pairs()) {
    pairs_.push_back({pair.lower, pair.upper, BorderOf(pair.lower, pair.upper, options_.two_roundings)});
  }
}

// As whole numbers, which sort twice as fast: negative floats have their bits inverted, the others their sign set.
void BinaryCodedSearch::SortWeights(absl::Span<const float> weights) {
  order_.resize(weights.size());
  for (size_t k = 0; k < weights.size(); ++k) {
    uint32_t bits;
    std::memcpy(&bits, &weights[k], sizeof(bits));
    bits ^= (bits >> 31) != 0 ? 0xffffffffu : 0x80000000u;
    order_[k] = uint64_t{bits} << 32 | k;
  }
  std::sort(order_.begin(), order_.end());
  values_.resize(weights.size());
  for (size_t k = 0; k < weights.size(); ++k) values_[k] = weights[order_[k] & 0xffffffffu];
  lo_ = std::min(0.0, values_.front());
  hi_ = std::max(0.0, values_.back());
}

void BinaryCodedSearch::SumWeights(absl::Span<const double> costs) {
  const bool free = std::all_of(costs.begin(), costs.end(), [](double cost) { return cost == 0; });
  weight_sums_.assign(values_.size() + 1, 0);
  product_sums_.assign(values_.size() + 1, 0);
  square_sum_ = 0;
  for (size_t k = 0; k < values_.size(); ++k) {
    const double cost = free ? 1 : costs[order_[k] & 0xffffffffu];
    weight_sums_[k + 1] = weight_sums_[k] + cost;
    product_sums_[k + 1] = product_sums_[k] + cost * values_[k];
    square_sum_ += cost * values_[k] * values_[k];
  }
}

double BinaryCodedSearch::CostOf(const BinaryCodes& codes) const {
  double cost = square_sum_;
  size_t begin = 0;
  for (size_t i = 0; i < codes.book.points.size(); ++i) {
    size_t end = values_.size();
    if (i + 1 < codes.book.points.size()) {
      const double border = codes.Border(codes.book.points[i], codes.book.points[i + 1]);
      end = std::lower_bound(values_.begin(), values_.end(), border) - values_.begin();
    }
    const double value = codes.ValueOf(codes.book.points[i]);
    cost +=
        value * (value * (weight_sums_[end] - weight_sums_[begin]) - 2 * (product_sums_[end] - product_sums_[begin]));
    begin = end;
  }
  return cost;
}

// Lanes beyond the last multiplier repeat it.
BinaryCodedSearch::Lanes BinaryCodedSearch::LanesFrom(int first) const {
  const int last = static_cast<int>(options_.multipliers.size()) - 1;
  const double base_scale = (hi_ - lo_) / (points_ - 1);
  Lanes lanes;
  for (int lane = 0; lane < kScaleLanes; ++lane) {
    lanes.scale[lane] = base_scale * options_.multipliers[std::min(first + lane, last)];
    lanes.zero[lane] = std::nearbyint(-lo_ / (options_.refit_zero ? lanes.scale[lane] : base_scale));
  }
  return lanes;
}

// Weights rise, so that those below a half point are a run at the beginning: each weight says where the run of the half
// point above it ends, the last one last, and half points between two weights take the run before them.
void BinaryCodedSearch::SumBelowBorders(const Lanes& lanes, int lane) {
  const int64_t count = static_cast<int64_t>(values_.size());
  indices_.resize(count);
  kernels_.count_half_points(values_.data(), count, 1 / lanes.scale[lane], lanes.zero[lane], half_points_,
                             indices_.data());
  std::fill(weights_below_.begin(), weights_below_.end(), 0);
  for (int64_t k = 0; k < count; ++k) weights_below_[indices_[k]] = static_cast<int32_t>(k + 1);
  int32_t below = 0;
  for (int border = 0; border < half_points_; ++border) {
    below = std::max(below, weights_below_[border]);
    lane_weights_[border * kScaleLanes + lane] = weight_sums_[below];
    lane_products_[border * kScaleLanes + lane] = product_sums_[below];
  }
}

void BinaryCodedSearch::SetValues(const Lanes& lanes) {
  for (int point = 0; point < points_; ++point) {
    for (int lane = 0; lane < kScaleLanes; ++lane) {
      const double value = lanes.scale[lane] * (point - lanes.zero[lane]);
      lane_values_[point * kScaleLanes + lane] = value;
      last_costs_[point * kScaleLanes + lane] =
          square_sum_ + value * (value * weight_sums_.back() - 2 * product_sums_.back());
    }
  }
}

void BinaryCodedSearch::TryLanes(int first, BinaryCodes& best) {
  const int count = std::min<int>(kScaleLanes, static_cast<int>(options_.multipliers.size()) - first);
  const Lanes lanes = LanesFrom(first);
  for (int lane = 0; lane < kScaleLanes; ++lane) SumBelowBorders(lanes, lane);
  SetValues(lanes);
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

BinaryCodes BinaryCodedSearch::Search(absl::Span<const float> weights, absl::Span<const double> costs) {
  SortWeights(weights);
  if (lo_ == hi_) return {.book = table_.books().front()};  // all 0
  SumWeights(costs);
  BinaryCodes best{.cost = std::numeric_limits<double>::infinity()};
  const int count = static_cast<int>(options_.multipliers.size());
  for (int first = 0; first < count; first += kScaleLanes) TryLanes(first, best);
  if (options_.with_uniform) TryUniform(best);
  return best;
}

}  // namespace quantd
