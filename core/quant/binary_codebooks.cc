#include "core/quant/binary_codebooks.h"

#include <algorithm>
#include <bitset>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

namespace quantd {
namespace {

using Steps = std::array<int, kMaxCodePlanes>;
using PointSet = std::bitset<1 << kMaxLinearBits>;

// Calls visit(steps, sums) for every rising list of steps whose subset sums are all different and at most `top`. `sums`
// holds those of the steps so far.
template <typename Visit>
class ShapeWalk {
 public:
  ShapeWalk(int planes, int top, const Visit& visit) : planes_(planes), top_(top), visit_(visit) {
    PointSet nothing_added;
    nothing_added.set(0);
    Extend(0, 1, 0, nothing_added);
  }

 private:
  void Extend(int chosen, int least, int total, const PointSet& sums) {
    if (chosen == planes_) {
      visit_(steps_, sums);
      return;
    }
    // The steps still to come are no smaller.
    for (int step = least; total + step * (planes_ - chosen) <= top_; ++step) {
      const PointSet shifted = sums << static_cast<size_t>(step);
      if ((shifted & sums).any()) continue;
      steps_[chosen] = step;
      Extend(chosen + 1, step, total + step, sums | shifted);
    }
  }

  const int planes_;
  const int top_;
  const Visit& visit_;
  Steps steps_ = {};
};

template <typename Visit>
void ForEachShape(int linear_bits, int planes, const Visit& visit) {
  ShapeWalk<Visit>(planes, (1 << linear_bits) - 1, visit);
}

int SumOf(const Steps& steps, int planes) {
  int sum = 0;
  for (int i = 0; i < planes; ++i) sum += steps[i];
  return sum;
}

int64_t PlacesOf(const Steps& steps, int linear_bits, int planes, CodebookFamily family) {
  const int room = (1 << linear_bits) - 1 - SumOf(steps, planes);
  if (family == CodebookFamily::kSpanning) return room == 0 ? 1 : 0;
  return room + 1;
}

BinaryCodebook Placed(const Steps& steps, const PointSet& sums, int base) {
  BinaryCodebook book{.base = base, .steps = steps};
  for (size_t sum = 0; sum < sums.size(); ++sum) {
    if (sums[sum]) book.points.push_back(static_cast<uint16_t>(base + sum));
  }
  return book;
}

}  // namespace

int64_t CountCodebooks(int linear_bits, int planes, CodebookFamily family) {
  int64_t count = 0;
  ForEachShape(linear_bits, planes, [&](const Steps& steps, const PointSet& /*sums*/) {
    count += PlacesOf(steps, linear_bits, planes, family);
  });
  return count;
}

int64_t CountCodebookShapes(int linear_bits, int planes) {
  int64_t count = 0;
  ForEachShape(linear_bits, planes, [&](const Steps& /*steps*/, const PointSet& /*sums*/) { ++count; });
  return count;
}

std::vector<BinaryCodebook> MakeCodebooks(int linear_bits, int planes, CodebookFamily family) {
  std::vector<BinaryCodebook> books;
  ForEachShape(linear_bits, planes, [&](const Steps& steps, const PointSet& sums) {
    const int64_t places = PlacesOf(steps, linear_bits, planes, family);
    for (int base = 0; base < places; ++base) books.push_back(Placed(steps, sums, base));
  });
  std::sort(books.begin(), books.end(),
            [](const BinaryCodebook& a, const BinaryCodebook& b) { return a.points < b.points; });
  return books;
}

CodebookTable::CodebookTable(int linear_bits, int planes, CodebookFamily family)
    : linear_bits_(linear_bits), planes_(planes), books_(MakeCodebooks(linear_bits, planes, family)) {
  std::map<std::pair<uint16_t, uint16_t>, uint16_t> index_of;
  for (const BinaryCodebook& book : books_) {
    for (size_t i = 0; i + 1 < book.points.size(); ++i) {
      const std::pair<uint16_t, uint16_t> pair = {book.points[i], book.points[i + 1]};
      const auto [found, is_new] = index_of.try_emplace(pair, static_cast<uint16_t>(pairs_.size()));
      if (is_new) pairs_.push_back({pair.first, pair.second});
      pairs_of_books_.push_back(found->second);
    }
    last_points_.push_back(book.points.back());
  }
}

const CodebookTable& CodebookTable::Get(int linear_bits, int planes, CodebookFamily family) {
  using Key = std::tuple<int, int, CodebookFamily>;
  static std::mutex mutex;
  static auto* const tables = new std::map<Key, std::unique_ptr<CodebookTable>>();
  const std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<CodebookTable>& table = (*tables)[{linear_bits, planes, family}];
  if (table == nullptr) table = std::make_unique<CodebookTable>(linear_bits, planes, family);
  return *table;
}

}  // namespace quantd
