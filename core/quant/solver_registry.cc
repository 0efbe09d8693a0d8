#include "core/quant/solver.h"

namespace quantd {

// Every solver a recipe may name.
absl::Span<const SolverChoice> SolverChoices() {
  static constexpr const char* kOptqParameters[] = {"damping", "act_order", "static_groups", "solver_block_size",
                                                    "dead_columns"};
  static constexpr SolverChoice kSolvers[] = {
      {{"nearest", "each weight to its nearest level, on its own", {}, "folklore"}, &MakeNearestSolver},
      {{"optq", "columns in turn, each error spread over the columns not yet done", kOptqParameters,
        "GPTQ, arXiv 2210.17323, IST-DASLab/gptq; dead-column threshold and retries are ours"},
       &MakeOptqSolver},
  };
  return kSolvers;
}

std::vector<const ChoiceInfo*> SolverChoiceInfos() {
  std::vector<const ChoiceInfo*> infos;
  for (const SolverChoice& choice : SolverChoices()) infos.push_back(&choice.info);
  return infos;
}

std::unique_ptr<Solver> MakeSolver(const Parameters& parameters) {
  for (const SolverChoice& choice : SolverChoices()) {
    if (parameters.Text("solver") == choice.info.name) return choice.make(parameters);
  }
  return nullptr;
}

}  // namespace quantd
