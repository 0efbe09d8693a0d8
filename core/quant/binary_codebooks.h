// The integer codebooks of a quantization in two steps: first to n bits, then those 2^n integers to m binary codes.
//
// A codebook is a set of 2^m different integers in 0..2^n-1 that m binary codes can address:
//   { base + sum of a subset of (step_1 .. step_m) },  base >= 0, steps >= 1.
// Different bases and steps never give the same set. GPTQT, arXiv 2407.02891; which sets are searched is our
// reconstruction.
#ifndef QUANTD_CORE_QUANT_BINARY_CODEBOOKS_H_
#define QUANTD_CORE_QUANT_BINARY_CODEBOOKS_H_

#include <array>
#include <cstdint>
#include <vector>

namespace quantd {

inline constexpr int kMaxCodePlanes = 4;
inline constexpr int kMaxLinearBits = 8;

enum class CodebookFamily {
  kSpanning,  // from 0 to 2^n-1: every shape as wide as the integers are
  kAll,       // every shape at every place
};

struct BinaryCodebook {
  int base = 0;
  std::array<int, kMaxCodePlanes> steps = {};  // rising; the first m count
  std::vector<uint16_t> points = {};           // the 2^m integers, rising
};

// How many there are, without making them: for limits and messages.
int64_t CountCodebooks(int linear_bits, int planes, CodebookFamily family);
// Shapes alone: codebooks that differ by more than their base.
int64_t CountCodebookShapes(int linear_bits, int planes);

// In the order of their points. 1 <= planes <= kMaxCodePlanes, planes <= linear_bits <= kMaxLinearBits.
std::vector<BinaryCodebook> MakeCodebooks(int linear_bits, int planes, CodebookFamily family);

// The codebooks of one family as a search reads them: the cost of one is a sum over its pairs of neighbouring points,
// and families share few pairs among many codebooks.
class CodebookTable {
 public:
  struct Pair {
    uint16_t lower, upper;
  };

  CodebookTable(int linear_bits, int planes, CodebookFamily family);
  // Made once for each argument list and kept.
  static const CodebookTable& Get(int linear_bits, int planes, CodebookFamily family);

  int linear_bits() const { return linear_bits_; }
  int planes() const { return planes_; }
  const std::vector<BinaryCodebook>& books() const { return books_; }
  const std::vector<Pair>& pairs() const { return pairs_; }
  // [books, 2^m - 1]: indices into pairs().
  const std::vector<uint16_t>& pairs_of_books() const { return pairs_of_books_; }
  const std::vector<uint16_t>& last_points() const { return last_points_; }  // [books]

 private:
  const int linear_bits_;
  const int planes_;
  const std::vector<BinaryCodebook> books_;
  std::vector<Pair> pairs_;
  std::vector<uint16_t> pairs_of_books_;
  std::vector<uint16_t> last_points_;
};

}  // namespace quantd

#endif  // QUANTD_CORE_QUANT_BINARY_CODEBOOKS_H_
