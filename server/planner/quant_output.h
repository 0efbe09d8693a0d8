// The JSON that `quant ... --json` prints.
#ifndef QUANTD_SERVER_PLANNER_QUANT_OUTPUT_H_
#define QUANTD_SERVER_PLANNER_QUANT_OUTPUT_H_

#include <google/protobuf/message.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/process/process.h"

namespace quantd {

// Fills `message` from a successful command's output; unknown fields are ignored. Of a failed command: the status it
// printed, with "spec." before the field. UNAVAILABLE PLANNER_FAILED for anything else.
absl::Status ReadQuantOutput(const CommandResult& result, google::protobuf::Message* message);

// snake_case JSON, as `quant --job FILE` reads it.
std::string SpecJson(const google::protobuf::Message& spec);

}  // namespace quantd

#endif  // QUANTD_SERVER_PLANNER_QUANT_OUTPUT_H_
