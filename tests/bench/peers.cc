// One problem from a file, timed: what scripts/bench-peers compares with PyTorch.
//   peers_bench optq PROBLEM.safetensors OUT.safetensors THREADS REPEATS     4 bit, group 128, asymmetric, no act-order
//   peers_bench prefill MODEL_FOLDER TOKENS THREADS REPEATS                  one sequence, all logits, weights in f32
// Prints one JSON object.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "core/base/json.h"
#include "core/compute/matmul.h"
#include "core/formats/checkpoint.h"
#include "core/formats/safetensors.h"
#include "core/model/transformer.h"
#include "core/quant/quantize_site.h"

namespace quantd {
namespace {

double BestSeconds(int repeats, const std::function<void()>& body) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

absl::StatusOr<Matrix> ReadMatrix(const SafetensorsFile& file, absl::string_view name) {
  const TensorEntry* entry = file.Find(name);
  if (entry == nullptr || entry->shape.size() != 2) return absl::NotFoundError(absl::StrCat("no matrix ", name));
  Matrix matrix(entry->shape[0], entry->shape[1]);
  WidenToF32(entry->dtype, file.Bytes(*entry).data(), matrix.span());
  return matrix;
}

absl::Status WriteMatrix(const std::string& path, const std::string& name, const Matrix& matrix) {
  ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::Create(RealFileSystem(), path,
                                                          {{name, Dtype::kF32, {matrix.rows(), matrix.cols()}}}, {}));
  RETURN_IF_ERROR(
      writer->Append({reinterpret_cast<const char*>(matrix.data()), static_cast<size_t>(matrix.size()) * 4}));
  return writer->Finish();
}

absl::StatusOr<Json> RunOptq(const ExecutionContext& context, const std::string& problem, const std::string& out,
                             int repeats) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(problem));
  ASSIGN_OR_RETURN(const Matrix weight, ReadMatrix(file, "weight"));
  ASSIGN_OR_RETURN(const Matrix hessian, ReadMatrix(file, "hessian"));
  ASSIGN_OR_RETURN(const Recipe recipe, MakeRecipe("gptq",
                                                   Json{{"bits", 4},
                                                        {"group_size", 128},
                                                        {"act_order", false},
                                                        {"static_groups", false},
                                                        {"symmetric", false},
                                                        {"scale_dtype", "f32"},
                                                        {"damping", 0.01}},
                                                   {}));
  const LinearSite site{.name = "problem", .rows = weight.rows(), .cols = weight.cols()};
  ASSIGN_OR_RETURN(const std::vector<SitePlan> plans, PlanSites(recipe, {site}));
  absl::StatusOr<SiteResult> result;
  const double seconds =
      BestSeconds(repeats, [&] { result = QuantizeSite(context, plans[0], weight.view(), hessian); });
  RETURN_IF_ERROR(result.status());
  RETURN_IF_ERROR(WriteMatrix(out, "quantized", result->weight->Decode()));
  return Json{{"seconds", seconds}};
}

// Multiply-adds of one forward pass over `tokens`, head included, attention products left out.
double LinearMultiplyAdds(const Transformer& model, int64_t tokens) {
  double weights = static_cast<double>(model.config().vocabulary_size * model.config().embedding_size);
  for (const LinearSite& site : model.sites()) weights += static_cast<double>(site.rows * site.cols);
  return weights * static_cast<double>(tokens);
}

double SgemmMultiplyAddsPerSecond(const ExecutionContext& context) {
  constexpr int64_t kSize = 1024;
  Matrix a(kSize, kSize), b(kSize, kSize), c(kSize, kSize);
  for (int64_t i = 0; i < a.size(); ++i) a.data()[i] = b.data()[i] = static_cast<float>(i % 7);
  const double seconds = BestSeconds(5, [&] { MatMulTransposed(context, a.view(), b.view(), c.view()); });
  return static_cast<double>(kSize * kSize * kSize) / seconds;
}

absl::StatusOr<Json> RunPrefill(const ExecutionContext& context, const std::string& folder, int64_t tokens,
                                int repeats) {
  ASSIGN_OR_RETURN(std::shared_ptr<const WeightSource> weights, OpenCheckpoint(folder));
  ASSIGN_OR_RETURN(const auto model, Transformer::Open(folder, weights));
  std::vector<Block> blocks;
  for (int i = 0; i < model->config().blocks; ++i) {
    ASSIGN_OR_RETURN(Block block, model->LoadBlock(i));
    blocks.push_back(std::move(block));
  }
  ASSIGN_OR_RETURN(const Head head, model->LoadHead());
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(5 + i * 37 % (model->config().vocabulary_size - 6));
  Matrix hidden(tokens, model->config().hidden_size);
  Matrix logits(tokens, model->config().vocabulary_size);
  absl::Status status;
  const auto forward = [&] {
    status.Update(model->Embed(context, ids, 0, hidden.view()));
    for (const Block& block : blocks) status.Update(model->ForwardBlock(context, block, {}, hidden.view()));
    model->Logits(context, head, hidden.view(), logits.view());
  };
  forward();
  const double seconds = BestSeconds(repeats, forward);
  RETURN_IF_ERROR(status);
  const double bound_seconds = LinearMultiplyAdds(*model, tokens) / SgemmMultiplyAddsPerSecond(context);
  return Json{{"seconds", seconds}, {"share_of_sgemm_rate", bound_seconds / seconds}};
}

absl::StatusOr<Json> Run(int argc, char** argv) {
  int threads, repeats;
  int64_t tokens = 0;
  if (argc != 6 || !absl::SimpleAtoi(argv[4], &threads) || !absl::SimpleAtoi(argv[5], &repeats)) {
    return absl::InvalidArgumentError(
        "usage: peers_bench optq PROBLEM OUT THREADS REPEATS | prefill MODEL TOKENS THREADS REPEATS");
  }
  ASSIGN_OR_RETURN(const auto context, ExecutionContext::Create({.threads = threads}));
  if (absl::string_view(argv[1]) == "optq") return RunOptq(*context, argv[2], argv[3], repeats);
  if (!absl::SimpleAtoi(argv[3], &tokens)) return absl::InvalidArgumentError("TOKENS must be a number");
  return RunPrefill(*context, argv[2], tokens, repeats);
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  const auto result = quantd::Run(argc, argv);
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    return 1;
  }
  std::printf("%s", quantd::JsonText(*result).c_str());
  return 0;
}
