#include "worker/quant/command.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

namespace quantd {
namespace {

struct CodeRow {
  absl::StatusCode code;
  const char* name;
  int exit_code;
};
constexpr CodeRow kCodes[] = {
    {absl::StatusCode::kOk, "OK", 0},
    {absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", 3},
    {absl::StatusCode::kOutOfRange, "OUT_OF_RANGE", 3},
    {absl::StatusCode::kNotFound, "NOT_FOUND", 4},
    {absl::StatusCode::kFailedPrecondition, "FAILED_PRECONDITION", 5},
    {absl::StatusCode::kUnavailable, "UNAVAILABLE", 5},
    {absl::StatusCode::kResourceExhausted, "RESOURCE_EXHAUSTED", 6},
    {absl::StatusCode::kCancelled, "CANCELLED", 130},
    {absl::StatusCode::kDataLoss, "DATA_LOSS", 7},
    {absl::StatusCode::kInternal, "INTERNAL", 7},
};

const CodeRow& Row(const absl::Status& status) {
  for (const CodeRow& row : kCodes) {
    if (row.code == status.code()) return row;
  }
  return kCodes[std::size(kCodes) - 1];
}

}  // namespace

void AddExecutionFlags(CLI::App& command, ExecutionOptions* options) {
  command.add_option("--threads", options->threads, "Threads; 0: all cores this process may use")->group("Execution");
  command.add_option("--isa", options->isa_at_most, "At most scalar, avx2 or avx512")->group("Execution");
  command.add_option("--device", options->device, "auto, cpu or cuda")->group("Execution");
  command
      .add_option("--memory-budget-bytes", options->memory_budget_bytes,
                  "Memory to plan with; 0: half of the machine's")
      ->group("Execution");
}

bool& JsonOutput() {
  static bool json = false;
  return json;
}

void AddJsonFlag(CLI::App& command) {
  command.add_flag("--json", JsonOutput(), "Print one JSON object, errors included");
}

Json ErrorJson(const absl::Status& status) {
  return Json{{"error",
               {{"reason", ReasonOf(status)},
                {"message", std::string(status.message())},
                {"field", FieldOf(status)},
                {"code", Row(status).name}}}};
}

int ExitCodeFor(const absl::Status& status) {
  return Row(status).exit_code;
}

}  // namespace quantd
