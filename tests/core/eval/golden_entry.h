// Entries of golden/perplexity.json and divergence.json: where their model and text are, and how the text becomes
// windows.
#ifndef QUANTD_TESTS_CORE_EVAL_GOLDEN_ENTRY_H_
#define QUANTD_TESTS_CORE_EVAL_GOLDEN_ENTRY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/json.h"
#include "core/model/transformer.h"
#include "core/text/corpus.h"

namespace quantd {

// A golden entry with its files found and opened.
struct GoldenCase {
  std::string folder;
  std::unique_ptr<Transformer> model;
  EvaluationTokens tokens;  // all windows of the text, as the entry's protocol cuts them
};

// Nothing when the model's folder or the text is not here. Models and texts are looked for beside the golden
// folder, in the shared folder, then in the checkout's data/; entries named "smollm2/..." find their model in
// $QUANTD_SMOLLM2.
std::optional<absl::StatusOr<GoldenCase>> OpenGoldenCase(const std::string& name, const Json& entry);

// Keeps the first windows: as many as have expected values, and as 100 billion multiply-adds of one forward pass allow
// (a few seconds), but at least one. Gives their number.
int64_t KeepFirstWindows(GoldenCase& golden, int64_t expected);

// Calls `check(name, entry, case)` for every entry that is wanted and whose files are here; reports the others on
// standard error. Gives the number of entries checked.
int ForEachGoldenEntry(const Json& entries, const std::function<bool(const std::string& name)>& wanted,
                       const std::function<void(const std::string&, const Json&, GoldenCase&)>& check);

bool IsSmolLm2(const std::string& name);

}  // namespace quantd

#endif  // QUANTD_TESTS_CORE_EVAL_GOLDEN_ENTRY_H_
