// `quant`: one job, evaluation, generation and inspection, with no server. The worker agent spawns `quant run`.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/base/status.h"
#include "worker/quant/command.h"

namespace quantd {
namespace {

constexpr char kFooter[] = R"(
Examples:
  quant run --model data/models/quantd-tiny-llama --recipe gptq --set bits=3 --calibration data/books/calibration.txt
            --evaluation data/books/heldout.txt --windows 32 --out /tmp/tiny-3bit
  quant evaluate --model /tmp/tiny-3bit --text data/books/heldout.txt --context 512 --windows 32 --json
  quant generate --model /tmp/tiny-3bit --prompt "It was a dark night"
  quant inspect /tmp/tiny-3bit
  quant recipes gptq

Exit codes: 0 ok, 2 usage, 3 invalid input, 4 not found, 5 precondition or unavailable device, 6 resource exhausted,
7 internal, 130 cancelled.)";

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  if (JsonOutput()) std::printf("%s", JsonText(ErrorJson(status)).c_str());
  const std::string reason = ReasonOf(status);
  std::fprintf(stderr, "quant: %s%s%s\n", std::string(status.message()).c_str(), reason.empty() ? "" : " ",
               reason.empty() ? "" : ("[" + reason + "]").c_str());
  return ExitCodeFor(status);
}

// Nothing may leave main as an exception: whoever spawned us reads statuses.
absl::Status RunSafely(const CommandBody& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return ReasonError(absl::StatusCode::kResourceExhausted, "MEMORY_EXHAUSTED",
                       "out of memory; use a smaller model, fewer sequences, or a machine with more memory");
  } catch (const std::exception& error) {
    return ReasonError(absl::StatusCode::kInternal, "UNEXPECTED_EXCEPTION", error.what());
  }
}

int Main(int argc, char** argv) {
  CLI::App app("quant: make a language model smaller, and measure what that cost");
  app.set_version_flag("--version", std::string("quant ") + QUANTD_VERSION);
  app.require_subcommand(1);
  app.footer(kFooter);
  CommandBody chosen;
  AddRunCommand(app, &chosen);
  AddPlanCommand(app, &chosen);
  AddEvaluateCommand(app, &chosen);
  AddGenerateCommand(app, &chosen);
  AddInspectCommand(app, &chosen);
  AddTokenizeCommand(app, &chosen);
  AddRecipesCommand(app, &chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  return Report(RunSafely(chosen));
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) {
  return quantd::Main(argc, argv);
}
