// The subcommands of `quant`. Each lives in a file of its own and registers itself with the application.
#ifndef QUANTD_WORKER_QUANT_COMMAND_H_
#define QUANTD_WORKER_QUANT_COMMAND_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/json.h"
#include "core/compute/execution_context.h"

namespace CLI {
class App;
}

namespace quantd {

// What a subcommand does once its flags are read. Prints its own result.
using CommandBody = std::function<absl::Status()>;

// Adds the subcommand to `app`; `*chosen` becomes its body when the user named it.
void AddRunCommand(CLI::App& app, CommandBody* chosen);
void AddPlanCommand(CLI::App& app, CommandBody* chosen);
void AddEvaluateCommand(CLI::App& app, CommandBody* chosen);
void AddGenerateCommand(CLI::App& app, CommandBody* chosen);
void AddInspectCommand(CLI::App& app, CommandBody* chosen);
void AddTokenizeCommand(CLI::App& app, CommandBody* chosen);
void AddRecipesCommand(CLI::App& app, CommandBody* chosen);

// --threads, --isa, --device, --memory-budget-bytes.
void AddExecutionFlags(CLI::App& command, ExecutionOptions* options);

// Whether the error, if any, goes to stdout as JSON too. Set by --json.
bool& JsonOutput();
void AddJsonFlag(CLI::App& command);

// {"error": {"reason", "message", "field", "code"}}
Json ErrorJson(const absl::Status& status);

// 0 ok, 2 usage, 3 invalid input, 4 not found, 5 precondition or unavailable device, 6 resource exhausted, 7 internal,
// 130 cancelled.
int ExitCodeFor(const absl::Status& status);

}  // namespace quantd

#endif  // QUANTD_WORKER_QUANT_COMMAND_H_
