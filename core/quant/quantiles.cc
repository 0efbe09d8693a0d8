#include "core/quant/quantiles.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace quantd {
namespace {

// Bit patterns of floats that are not negative rise with their values: the upper 16 of 31 bits make bins of 0.4 %.
constexpr int kDroppedBits = 15;
constexpr int64_t kBins = int64_t{1} << 16;
// Sorting so many is faster than clearing and reading the bins.
constexpr size_t kFew = 4096;

int64_t BinOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits & 0x7fffffff) >> kDroppedBits;  // -0 is 0
}

struct Place {
  int64_t rank;
  double fraction;  // of the way to the next rank
};

Place PlaceOf(double share, size_t count) {
  const double place = share * static_cast<double>(count - 1);
  const int64_t rank = std::min(static_cast<int64_t>(place), static_cast<int64_t>(count) - 1);
  return {rank, place - static_cast<double>(rank)};
}

// The bins that hold wanted ranks, their values sorted. One for all when values are few.
class SortedBins {
 public:
  // Wanted ranks rise.
  SortedBins(absl::Span<const float> values, absl::Span<const int64_t> wanted) {
    if (values.size() < kFew) {
      bins_.push_back({0, std::vector<float>(values.begin(), values.end())});
    } else {
      FillBins(values, wanted);
    }
    for (Bin& bin : bins_) std::sort(bin.values.begin(), bin.values.end());
  }

  float At(int64_t rank) const {
    const auto after = std::upper_bound(bins_.begin(), bins_.end(), rank,
                                        [](int64_t wanted, const Bin& bin) { return wanted < bin.first_rank; });
    const Bin& bin = *(after - 1);
    return bin.values[rank - bin.first_rank];
  }

 private:
  struct Bin {
    int64_t first_rank;
    std::vector<float> values;
  };

  void FillBins(absl::Span<const float> values, absl::Span<const int64_t> wanted) {
    std::vector<int32_t> slots(kBins, -1);  // bin -> place in bins_
    std::vector<int64_t> counts(kBins);
    for (float value : values) ++counts[BinOf(value)];
    int64_t first_rank = 0;
    auto next = wanted.begin();
    for (int64_t bin = 0; bin < kBins && next != wanted.end(); ++bin) {
      const int64_t end_rank = first_rank + counts[bin];
      if (*next < end_rank) {
        slots[bin] = static_cast<int32_t>(bins_.size());
        bins_.push_back({first_rank, {}});
        bins_.back().values.reserve(counts[bin]);
      }
      while (next != wanted.end() && *next < end_rank) ++next;
      first_rank = end_rank;
    }
    for (float value : values) {
      if (const int32_t slot = slots[BinOf(value)]; slot >= 0) bins_[slot].values.push_back(value);
    }
  }

  std::vector<Bin> bins_;  // in the order of ranks
};

}  // namespace

std::vector<float> Quantiles(absl::Span<const float> values, absl::Span<const double> shares) {
  const int64_t last = static_cast<int64_t>(values.size()) - 1;
  std::vector<int64_t> wanted;
  for (double share : shares) {
    const int64_t rank = PlaceOf(share, values.size()).rank;
    wanted.push_back(rank);
    wanted.push_back(std::min(rank + 1, last));
  }
  std::sort(wanted.begin(), wanted.end());
  const SortedBins bins(values, wanted);
  std::vector<float> quantiles;
  for (double share : shares) {
    const Place place = PlaceOf(share, values.size());
    const double at = bins.At(place.rank), next = bins.At(std::min(place.rank + 1, last));
    quantiles.push_back(static_cast<float>(at + (next - at) * place.fraction));
  }
  return quantiles;
}

}  // namespace quantd
