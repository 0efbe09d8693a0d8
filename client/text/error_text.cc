#include "client/text/error_text.h"

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/rpc_status.h"
#include "core/base/json.h"
#include "core/base/status.h"

namespace quantd {
namespace {

struct Hint {
  absl::string_view reason_prefix;
  absl::string_view text;
};
// The first row whose prefix fits.
constexpr Hint kHints[] = {
    {"SERVER_UNREACHABLE",
     "is quantd running there? Start it, or name another with --server HOST:PORT or QUANTD_SERVER"},
    {"CALL_CUT_OFF", "try again when the server is back, with the same --request-id"},
    {"DEADLINE_EXCEEDED", "give it longer with --timeout SECONDS"},
    {"DRAINING", "try again when the server is back, with the same --request-id"},
    {"STORE_", "the server's disk has trouble; try again later, with the same --request-id"},
    {"JOB_NOT_FOUND", "`quantctl list` shows the jobs"},
    {"JOB_NAME_INVALID", "`quantctl list` shows the jobs"},
    {"JOB_NOT_FINISHED", "`quantctl watch JOB` waits for it; `quantctl get JOB` shows its state"},
    {"MODEL_NOT_FOUND", "--model names a folder below the server's --model-root"},
    {"DATA_NOT_FOUND", "texts are named relative to the server's --data-root"},
    {"PATH_", "models and texts are named relative to the server's roots, without '..'"},
    {"RECIPE_UNKNOWN_PARAMETER", "`quantctl recipes NAME` shows every parameter with its type, default and range"},
    {"RECIPE_PARAMETER", "`quantctl recipes NAME` shows every parameter with its type, default and range"},
    {"RECIPE_", "`quantctl recipes` lists the recipes"},
    {"CALIBRATION_REQUIRED", "this recipe needs --calibration FILE"},
    {"EVALUATION_TEXT_IS_CALIBRATION_TEXT", "choose another text for --evaluation"},
    {"RULE_MATCHES_NOTHING", "patterns match whole module names; `*` matches anything: '*.down_proj'"},
    {"REQUEST_ID_REUSED", "choose another --request-id, or none: then a fresh one is made"},
    {"DEVICE_UNAVAILABLE", "start a worker with that device, or use --device auto"},
    {"TENANT_INVALID", "--tenant, or QUANTD_TENANT, names the tenant"},
    {"JOB_NOT_DELETED", "`quantctl list --show-deleted` shows what can be undeleted"},
    {"REVISION_COMPACTED", "watch again from the beginning: `quantctl watch JOB`"},
    {"QUOTA_", "wait for queued jobs to finish, or cancel some: `quantctl list --state QUEUED`"},
    {"DIGEST_MISMATCH", "run the same download again; files that are right are kept"},
    {"BAD_ARGUMENT", "`quantctl COMMAND --help` has examples"},
};

absl::string_view HintFor(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (reason == "DISK_FULL") {
    return IsFromServer(status) ? "the server's disk is full" : "free some space, then run the same command again";
  }
  for (const Hint& hint : kHints) {
    if (absl::StartsWith(reason, hint.reason_prefix)) return hint.text;
  }
  return "";
}

}  // namespace

std::string Printable(absl::string_view text) {
  std::string printable;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_control = (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f;
    if (is_control) {
      absl::StrAppendFormat(&printable, "\\x%02x", byte);
    } else {
      printable.push_back(c);
    }
  }
  return printable;
}

std::string ErrorText(absl::string_view command, const absl::Status& status) {
  const std::string code = absl::StatusCodeToString(status.code());
  const std::string reason = ReasonOf(status);
  std::string text = absl::StrCat(command, ": ", Printable(status.message()), "\n  reason  ",
                                  reason.empty() ? code : absl::StrCat(Printable(reason), " (", code, ")"), "\n");
  if (const std::string field = FieldOf(status); !field.empty())
    absl::StrAppend(&text, "  field   ", Printable(field), "\n");
  if (const absl::string_view hint = HintFor(status); !hint.empty()) absl::StrAppend(&text, "  hint    ", hint, "\n");
  return text;
}

std::string ErrorJson(const absl::Status& status) {
  const Json error = {{"code", absl::StatusCodeToString(status.code())},
                      {"reason", ReasonOf(status)},
                      {"field", FieldOf(status)},
                      {"message", std::string(status.message())}};
  return Json({{"error", error}}).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FailureText(const v1::QuantJob& job) {
  if (job.state() != v1::QuantJob::FAILED) return "";
  const v1::JobError& error = job.error();
  std::string text =
      absl::StrCat("job failed: ", Printable(error.message()), "\n  reason  ", Printable(error.reason()), "\n");
  if (!error.phase().empty()) absl::StrAppend(&text, "  phase   ", Printable(error.phase()), "\n");
  if (error.signal() != 0) absl::StrAppend(&text, "  child   ended by signal ", error.signal(), "\n");
  if (error.exit_code() != 0) absl::StrAppend(&text, "  child   exited with code ", error.exit_code(), "\n");
  if (error.log_tail().empty()) return text;
  absl::StrAppend(&text, "  its log ends with\n");
  for (absl::string_view line : absl::StrSplit(error.log_tail(), '\n', absl::SkipEmpty())) {
    absl::StrAppend(&text, "    ", Printable(line), "\n");
  }
  return text;
}

}  // namespace quantd
