#include "core/quant/binary_codebooks.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace quantd {
namespace {

struct Counts {
  int linear_bits, planes;
  int64_t all, shapes, spanning;
};

// The methods handbook's table.
constexpr Counts kCounts[] = {
    {3, 2, 22, 9, 3}, {4, 2, 252, 49, 7}, {5, 2, 2360, 225, 15}, {4, 3, 145, 44, 12}, {5, 3, 4361, 591, 65}};

TEST(BinaryCodebooks, AreAsManyAsTheHandbookSays) {
  for (const Counts& row : kCounts) {
    SCOPED_TRACE(testing::Message() << row.linear_bits << " -> " << row.planes);
    EXPECT_EQ(CountCodebooks(row.linear_bits, row.planes, CodebookFamily::kAll), row.all);
    EXPECT_EQ(CountCodebookShapes(row.linear_bits, row.planes), row.shapes);
    EXPECT_EQ(CountCodebooks(row.linear_bits, row.planes, CodebookFamily::kSpanning), row.spanning);
  }
}

using Points = std::vector<uint16_t>;

// Every base and every list of steps, rising or not, into a set.
void CollectSets(int top, int planes, const Points& so_far, std::set<Points>& sets) {
  if (planes == 0) {
    const std::set<uint16_t> different(so_far.begin(), so_far.end());
    if (different.size() == so_far.size()) sets.insert(Points(different.begin(), different.end()));
    return;
  }
  for (int step = 1; step <= top; ++step) {
    Points extended = so_far;
    for (uint16_t point : so_far) {
      if (point + step > top) break;
      extended.push_back(static_cast<uint16_t>(point + step));
    }
    if (extended.size() == 2 * so_far.size()) CollectSets(top, planes - 1, extended, sets);
  }
}

std::set<Points> BruteForceSets(int linear_bits, int planes) {
  const int top = (1 << linear_bits) - 1;
  std::set<Points> sets;
  for (int base = 0; base <= top; ++base) CollectSets(top, planes, {static_cast<uint16_t>(base)}, sets);
  return sets;
}

TEST(BinaryCodebooks, AreExactlyTheSetsThatCodesCanAddress) {
  for (int linear_bits = 1; linear_bits <= 5; ++linear_bits) {
    for (int planes = 1; planes <= std::min(linear_bits, 3); ++planes) {
      SCOPED_TRACE(testing::Message() << linear_bits << " -> " << planes);
      const std::set<Points> expected = BruteForceSets(linear_bits, planes);
      const std::vector<BinaryCodebook> books = MakeCodebooks(linear_bits, planes, CodebookFamily::kAll);
      ASSERT_EQ(books.size(), expected.size());
      size_t index = 0;
      for (const Points& points : expected) EXPECT_EQ(books[index++].points, points);
    }
  }
}

TEST(BinaryCodebooks, PointsAreBasePlusSubsetSums) {
  for (const BinaryCodebook& book : MakeCodebooks(5, 4, CodebookFamily::kAll)) {
    std::multiset<uint16_t> sums;
    for (int subset = 0; subset < 16; ++subset) {
      int sum = book.base;
      for (int i = 0; i < 4; ++i) sum += (subset >> i & 1) * book.steps[i];
      sums.insert(static_cast<uint16_t>(sum));
    }
    ASSERT_EQ(Points(sums.begin(), sums.end()), book.points);
    ASSERT_LE(book.points.back(), 31);
  }
}

TEST(BinaryCodebooks, AsManyPlanesAsBitsIsTheWholeRange) {
  for (int bits = 1; bits <= kMaxCodePlanes; ++bits) {
    const std::vector<BinaryCodebook> books = MakeCodebooks(bits, bits, CodebookFamily::kAll);
    ASSERT_EQ(books.size(), 1u);
    for (int i = 0; i < bits; ++i) EXPECT_EQ(books[0].steps[i], 1 << i);
  }
}

// The largest families a recipe may ask for exist within the index types.
TEST(BinaryCodebooks, LargestFamiliesFitTheirIndices) {
  for (const auto& [linear_bits, planes, family] :
       {std::tuple(8, 4, CodebookFamily::kSpanning), std::tuple(6, 3, CodebookFamily::kAll)}) {
    const CodebookTable& table = CodebookTable::Get(linear_bits, planes, family);
    EXPECT_LE(table.pairs().size(), size_t{1} << 16);
    EXPECT_EQ(static_cast<int64_t>(table.books().size()), CountCodebooks(linear_bits, planes, family));
    EXPECT_EQ(table.pairs_of_books().size(), table.books().size() * ((1 << planes) - 1));
  }
}

TEST(CodebookTable, PairsLeadBackToThePoints) {
  const CodebookTable& table = CodebookTable::Get(5, 3, CodebookFamily::kAll);
  for (size_t book = 0; book < table.books().size(); ++book) {
    const Points& points = table.books()[book].points;
    for (size_t i = 0; i + 1 < points.size(); ++i) {
      const CodebookTable::Pair& pair = table.pairs()[table.pairs_of_books()[book * 7 + i]];
      ASSERT_EQ(pair.lower, points[i]);
      ASSERT_EQ(pair.upper, points[i + 1]);
    }
    ASSERT_EQ(table.last_points()[book], points.back());
  }
}

}  // namespace
}  // namespace quantd
