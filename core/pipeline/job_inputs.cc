#include "core/pipeline/job_inputs.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/file_system.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/compute/arithmetic_name.h"
#include "core/pipeline/checkpoint_document.h"

namespace quantd {
namespace {

std::string DigestOfTokens(const std::vector<TokenSequence>& sequences) {
  Sha256 digest;
  for (const TokenSequence& sequence : sequences) {
    digest.Update(absl::StrCat(sequence.size(), "\n"));
    digest.Update({reinterpret_cast<const char*>(sequence.data()), sequence.size() * sizeof(sequence[0])});
  }
  return digest.Finish();
}

std::string DigestOfWindows(const EvaluationTokens& tokens) {
  std::string shape;
  for (const EvaluationWindow& window : tokens.windows) {
    absl::StrAppend(&shape, window.tokens.size(), " ", window.first_target, "\n");
  }
  return Sha256Hex(absl::StrCat(tokens.protocol, "\n", tokens.token_stream_sha256, "\n", shape));
}

std::string DigestOfSites(const JobPlan& plan) {
  Json sites = Json::array();
  for (const SitePlan& site : plan.sites) sites.push_back({site.site.name, site.skip, site.parameters.ToJson()});
  return Sha256Hex(sites.dump());
}

// What the report repeats.
std::string JobText(const JobSpec& spec) {
  return absl::StrJoin(
      {spec.preset, BaseName(spec.model), BaseName(spec.calibration_file), BaseName(spec.evaluation_file),
       absl::StrCat(spec.calibration_sequences), absl::StrCat(spec.calibration_length), absl::StrCat(spec.seed),
       spec.bos, spec.protocol, absl::StrCat(spec.evaluation_context), absl::StrJoin(spec.exports, "+")},
      " | ");
}

// The version alone would not tell two builds of a working tree apart.
absl::StatusOr<std::string> ProgramText() {
  ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile("/proc/self/exe"));
  return absl::StrCat(QUANTD_VERSION, " ", digest);
}

}  // namespace

absl::StatusOr<std::string> JobInputsJson(const ExecutionContext& context, const JobPlan& plan,
                                          const std::string& model_fingerprint) {
  ASSIGN_OR_RETURN(const std::string program, ProgramText());
  const Json inputs = {{"format", absl::StrCat(kCheckpointFormatVersion)},
                       {"model", model_fingerprint},
                       {"calibration", DigestOfTokens(plan.calibration)},
                       {"calibration_text", plan.calibration_sha256},
                       {"evaluation", DigestOfWindows(plan.evaluation)},
                       {"evaluation_text", plan.evaluation_sha256},
                       {"recipe", Sha256Hex(plan.recipe.ToJson().dump())},
                       {"layers", DigestOfSites(plan)},
                       {"job", JobText(plan.spec)},
                       {"program", program},
                       {"arithmetic", ArithmeticName(context)}};
  return inputs.dump();
}

std::string DifferentInputs(const std::string& a_json, const std::string& b_json) {
  const Json a = Json::parse(a_json, nullptr, false), b = Json::parse(b_json, nullptr, false);
  if (!a.is_object() || !b.is_object()) return "everything";
  std::set<std::string> different;
  for (const auto& [name, value] : a.items()) {
    if (!b.contains(name) || b[name] != value) different.insert(name);
  }
  for (const auto& [name, value] : b.items()) {
    if (!a.contains(name)) different.insert(name);
  }
  return absl::StrJoin(different, ", ");
}

}  // namespace quantd
