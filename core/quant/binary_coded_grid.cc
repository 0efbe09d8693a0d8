#include "core/quant/binary_coded_grid.h"

#include <limits>
#include <memory>

#include "core/quant/bcq_fit.h"

namespace quantd {
namespace {

constexpr double kLargestF16 = 65504;

void ReadRow(const FitColumns& columns, int64_t row, std::vector<float>& weights) {
  const int64_t slab = row / kSlabRows;
  for (int64_t c = 0; c < columns.count; ++c) {
    weights[c] = columns.weights.column(slab, columns.first + c)[row % kSlabRows];
  }
}

// fit_row(worker, weights of the row, row) for every row, a slab at a time; `make_worker` makes what a slab needs.
template <typename MakeWorker, typename FitRow>
void FitRows(const ExecutionContext& context, const FitColumns& columns, const MakeWorker& make_worker,
             const FitRow& fit_row) {
  context.pool().ParallelFor(columns.weights.slabs(), [&](int64_t slab) {
    auto worker = make_worker();
    std::vector<float> weights(columns.count);
    for (int64_t r = 0; r < columns.weights.rows_in(slab); ++r) {
      const int64_t row = columns.weights.first_row(slab) + r;
      ReadRow(columns, row, weights);
      fit_row(worker, weights, row);
    }
  });
}

class BinaryCodedGrid : public Grid {
 public:
  explicit BinaryCodedGrid(const BinaryCodedOptions& options) : options_(options) {}

  int64_t columns_per_fit(int64_t cols) const override { return options_.storage.columns_per_fit(cols); }
  double PlannedBits(int64_t rows, int64_t cols) const override { return options_.storage.PlannedBits(rows, cols); }
  absl::StatusOr<std::unique_ptr<FittedGrid>> Fit(const ExecutionContext& context,
                                                  const FitColumns& columns) const override;
  std::unique_ptr<QuantizedWeight> Assemble(const ExecutionContext& context, const CodedColumns& coded) const override {
    return AssembleBinaryCodes(context, coded, options_.storage);
  }

 private:
  std::vector<double> CostsOf(const FitColumns& columns) const;
  void SetRow(const BinaryCodes& codes, int64_t row, BinaryLevels& levels) const;

  const BinaryCodedOptions options_;
};

std::vector<double> BinaryCodedGrid::CostsOf(const FitColumns& columns) const {
  absl::Span<const float> costs = columns.diagonal;
  if (options_.cost == SearchCost::kFactor && !columns.column_costs.empty()) costs = columns.column_costs;
  if (options_.cost == SearchCost::kPlain || costs.empty()) return std::vector<double>(columns.count, 1.0);
  return std::vector<double>(costs.begin(), costs.end());
}

void BinaryCodedGrid::SetRow(const BinaryCodes& codes, int64_t row, BinaryLevels& levels) const {
  std::vector<double> alphas(levels.planes);
  for (int i = 0; i < levels.planes; ++i) alphas[i] = codes.alpha(i);
  levels.SetRow(row, alphas, codes.offset(levels.planes), options_.storage.scale_dtype);
  if (!codes.two_roundings || codes.scale == 0) return;
  for (int level = 0; level + 1 < levels.levels(); ++level) {
    levels.SetBorder(row, level, codes.Border(codes.book.points[level], codes.book.points[level + 1]));
  }
}

absl::StatusOr<std::unique_ptr<FittedGrid>> BinaryCodedGrid::Fit(const ExecutionContext& context,
                                                                 const FitColumns& columns) const {
  const BinaryCodedKernels& kernels = BinaryCodedKernelsFor(context.isa());
  const std::vector<double> costs = CostsOf(columns);
  BinaryLevels levels(columns.weights.rows(), options_.storage.planes);
  FitRows(
      context, columns, [&] { return std::make_unique<BinaryCodedSearch>(options_.search, kernels); },
      [&](const std::unique_ptr<BinaryCodedSearch>& search, const std::vector<float>& weights, int64_t row) {
        SetRow(search->Search(weights, costs), row, levels);
      });
  RETURN_IF_ERROR(CheckLevels(levels, columns, options_.storage.scale_dtype));
  return std::make_unique<FittedBinaryGrid>(kernels, std::move(levels));
}

class BcqGrid : public Grid {
 public:
  explicit BcqGrid(const BcqOptions& options) : options_(options) {}

  int64_t columns_per_fit(int64_t cols) const override { return options_.storage.columns_per_fit(cols); }
  double PlannedBits(int64_t rows, int64_t cols) const override { return options_.storage.PlannedBits(rows, cols); }
  absl::StatusOr<std::unique_ptr<FittedGrid>> Fit(const ExecutionContext& context,
                                                  const FitColumns& columns) const override;
  std::unique_ptr<QuantizedWeight> Assemble(const ExecutionContext& context, const CodedColumns& coded) const override {
    return AssembleBinaryCodes(context, coded, options_.storage);
  }

 private:
  const BcqOptions options_;
};

absl::StatusOr<std::unique_ptr<FittedGrid>> BcqGrid::Fit(const ExecutionContext& context,
                                                         const FitColumns& columns) const {
  const BcqFitOptions fit_options = {.planes = options_.storage.planes, .rounds = options_.rounds};
  BinaryLevels levels(columns.weights.rows(), options_.storage.planes);
  FitRows(
      context, columns, [] { return 0; },
      [&](int /*worker*/, const std::vector<float>& weights, int64_t row) {
        const std::vector<double> exact(weights.begin(), weights.end());
        levels.SetRow(row, FitBcq(exact, {}, fit_options).alphas, 0, options_.storage.scale_dtype);
      });
  RETURN_IF_ERROR(CheckLevels(levels, columns, options_.storage.scale_dtype));
  return std::make_unique<FittedBinaryGrid>(BinaryCodedKernelsFor(context.isa()), std::move(levels));
}

BinaryStorage StorageOf(const Parameters& parameters) {
  return {.planes = static_cast<int>(parameters.Int("bits")),
          .group_size = parameters.Int("group_size"),
          .scale_dtype = parameters.Text("scale_dtype") == "f16" ? Dtype::kF16 : Dtype::kF32};
}

int LinearBitsOf(const Parameters& parameters) {
  const int linear_bits = static_cast<int>(parameters.Int("linear_bits"));
  return linear_bits != 0 ? linear_bits : DefaultLinearBits(static_cast<int>(parameters.Int("bits")));
}

CodebookFamily FamilyOf(const Parameters& parameters) {
  return parameters.Text("codebooks") == "all" ? CodebookFamily::kAll : CodebookFamily::kSpanning;
}

SearchCost SearchCostOf(const std::string& name) {
  if (name == "plain") return SearchCost::kPlain;
  return name == "factor" ? SearchCost::kFactor : SearchCost::kDiagonal;
}

}  // namespace

bool HasTooManyCodebooks(const Parameters& parameters) {
  const int planes = static_cast<int>(parameters.Int("bits"));
  if (planes > kMaxCodePlanes || LinearBitsOf(parameters) < planes) return false;  // refused for that
  return FamilyOf(parameters) == CodebookFamily::kAll &&
         CountCodebooks(LinearBitsOf(parameters), planes, CodebookFamily::kAll) > kMaxCodebooks;
}

BinaryCodedOptions BinaryCodedOptionsOf(const Parameters& parameters) {
  BinaryCodedOptions options{.storage = StorageOf(parameters), .cost = SearchCostOf(parameters.Text("search_cost"))};
  options.search = {
      .planes = options.storage.planes,
      .linear_bits = LinearBitsOf(parameters),
      .family = FamilyOf(parameters),
      .multipliers = ScaleMultipliers(static_cast<int>(parameters.Int("scale_points")), parameters.Double("scale_from"),
                                      parameters.Double("scale_to")),
      .refit_zero = parameters.Text("search_zero") == "refit",
      .two_roundings = parameters.Int("roundings") == 2,
      .largest_stored = options.storage.scale_dtype == Dtype::kF16 ? kLargestF16 : std::numeric_limits<float>::max()};
  return options;
}

std::unique_ptr<Grid> MakeBinaryCodedGrid(const Parameters& parameters) {
  return std::make_unique<BinaryCodedGrid>(BinaryCodedOptionsOf(parameters));
}

std::unique_ptr<Grid> MakeBcqGrid(const Parameters& parameters) {
  BcqOptions options{.storage = StorageOf(parameters), .rounds = static_cast<int>(parameters.Int("bcq_rounds"))};
  options.storage.has_offsets = false;
  return std::make_unique<BcqGrid>(options);
}

std::vector<ParameterInfo> BinaryCodedParameters() {
  return {
      {"linear_bits",
       ParameterType::kInt,
       "0",
       0,
       kMaxLinearBits,
       {},
       "bits",
       "bits of the linear step, n of n -> m; 0: two more than bits, at most 5"},
      {"codebooks",
       ParameterType::kChoice,
       "spanning",
       0,
       0,
       {"spanning", "all"},
       "",
       "sets of the linear step's integers that are tried: those from the first to the last integer, or every one"},
      {"scale_points",
       ParameterType::kInt,
       "24",
       1,
       256,
       {},
       "points",
       "scales tried around the one from the range of the weights; 1: that one alone"},
      {"scale_from",
       ParameterType::kFloat,
       "0.3",
       0.01,
       1,
       {},
       "times",
       "the least of the scales tried, in that scale"},
      {"scale_to", ParameterType::kFloat, "1.1", 1, 8, {}, "times", "the greatest of them"},
      {"search_zero",
       ParameterType::kChoice,
       "fixed",
       0,
       0,
       {"fixed", "refit"},
       "",
       "zero point of a scale that is tried: that of the first scale, so that the range shrinks around zero, or that "
       "scale's own, so that the range begins at the least weight"},
      {"roundings",
       ParameterType::kInt,
       "1",
       1,
       2,
       {},
       "",
       "1: weights go to the nearest value of the codebook; 2: to an integer first and from there to the codebook"},
      {"search_cost",
       ParameterType::kChoice,
       "diagonal",
       0,
       0,
       {"diagonal", "factor", "plain"},
       "",
       "what squared errors of the search are weighted with: the diagonal of the sensitivity, 1 / U_jj^2 of the "
       "solver's factor, or nothing"},
  };
}

std::vector<ParameterInfo> BcqParameters() {
  return {{"bcq_rounds",
           ParameterType::kInt,
           "15",
           0,
           100,
           {},
           "rounds",
           "of alternating between scales and signs; 0: greedy alone"}};
}

}  // namespace quantd
