// Backward passes against sgemm in the same run: the multiply-adds of their linears at the sgemm rate over the time
// they take, attention, norms and activations included. $QUANTD_BENCH_MODEL is the model's folder.
#include <algorithm>
#include <memory>
#include <string>

#include "core/base/file_system.h"
#include "core/compute/matmul.h"
#include "core/formats/checkpoint.h"
#include "core/model/gradient_pass.h"
#include "tests/bench/share_of_rate.h"

namespace quantd::bench {
namespace {

std::string ModelFolder() {
  const char* folder = std::getenv("QUANTD_BENCH_MODEL");
  if (folder != nullptr) return folder;
  const char* source = std::getenv("QUANTD_SOURCE_DIR");
  return JoinPath(source == nullptr ? "." : source, "data/models/quantd-tiny-llama");
}

const Transformer& Model() {
  static const auto* const kModel = [] {
    std::shared_ptr<const WeightSource> weights = OpenCheckpoint(ModelFolder()).value();
    return Transformer::Open(ModelFolder(), weights).value().release();
  }();
  return *kModel;
}

// The gradient of every weight, as a sensitivity would compute it.
class WeightGradients : public GradientObserver {
 public:
  absl::Status OnGradient(const LinearSite& site, const MatrixView& x, const MatrixView& delta) override {
    if (gradient_.size() < site.rows * site.cols) gradient_ = Matrix(site.rows, site.cols);
    MatMulLeftTransposed(BenchContext(), delta, x, {gradient_.data(), site.rows, site.cols, site.cols});
    return absl::OkStatus();
  }

 private:
  Matrix gradient_;
};

struct Weights {
  double all = 0;   // of a block's linears
  double last = 0;  // of the one that is not multiplied again
};
Weights BlockWeights() {
  Weights weights;
  for (const LinearSite& site : Model().block_sites(0)) {
    weights.last = static_cast<double>(site.rows * site.cols);
    weights.all += weights.last;
  }
  return weights;
}

double SgemmBaseline() {
  return SgemmRate(BenchContext());
}

// Arguments: tokens of the sequence; whether the gradients of weights are wanted too.
void BM_BackwardBlock(benchmark::State& state) {
  const Block block = Model().LoadBlock(0).value();
  const int64_t tokens = state.range(0);
  Matrix input(tokens, Model().config().hidden_size), gradient(tokens, Model().config().hidden_size);
  FillRandom(input, 1);
  FillRandom(gradient, 2);
  WeightGradients observer;
  const BackwardOptions options{state.range(1) == 0 ? nullptr : &observer, /*input_gradient=*/true};
  const auto run = [&] {
    if (!Model().BackwardBlock(BenchContext(), block, options, input.view(), gradient.view()).ok()) {
      state.SkipWithError("the block was refused");
    }
  };
  run();  // the first one also meets untouched memory
  const Weights weights = BlockWeights();
  const double products = 2 * weights.all - weights.last + static_cast<double>(state.range(1)) * weights.all;
  RunAgainst(state, {"share_of_sgemm_rate", products * static_cast<double>(tokens), &SgemmBaseline}, run);
}

// One sequence through the whole model and back, the loading of weights included.
void BM_GradientPass(benchmark::State& state) {
  const ModelConfig& config = Model().config();
  const int64_t tokens = state.range(0);
  std::vector<TokenSequence> sequences(1);
  for (int64_t t = 0; t < tokens; ++t) {
    sequences[0].push_back(static_cast<int32_t>(5 + t * 37 % (config.vocabulary_size - 6)));
  }
  WeightGradients observer;
  const auto run = [&] {
    auto pass = GradientPass::Create(BenchContext(), Model(), sequences, {});
    absl::Status status = pass.status();
    if (status.ok()) status = pass->Embed();
    if (status.ok()) status = pass->Run(&observer, [](double) { return absl::OkStatus(); });
    if (!status.ok()) state.SkipWithError(std::string(status.message()).c_str());
  };
  run();
  const Weights weights = BlockWeights();
  const double head = 2 * static_cast<double>(config.vocabulary_size * config.embedding_size);
  const double products = config.blocks * (4 * weights.all - weights.last) - weights.all + head;
  RunAgainst(state, {"share_of_sgemm_rate", products * static_cast<double>(tokens), &SgemmBaseline}, run);
}

BENCHMARK(BM_BackwardBlock)
    ->ArgNames({"tokens", "weight_gradients"})
    ->ArgsProduct({{512, 2048}, {0, 1}})
    ->Iterations(9)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(BM_GradientPass)->ArgName("tokens")->Arg(512)->Iterations(3)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantd::bench
