#include "core/pipeline/saved_place.h"

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr char kWhat[] = "the checkpoint's place";

// A number from 0 to `most`.
absl::StatusOr<int64_t> Number(const Json& json, absl::string_view key, int64_t most) {
  const absl::StatusOr<int64_t> value = JsonInt(json, key, kWhat);
  if (value.ok() && *value >= 0 && *value <= most) return value;
  return InvalidInput("CHECKPOINT_MALFORMED",
                      absl::StrFormat("%s: '%s' is not a number from 0 to %d", kWhat, key, most));
}

constexpr int64_t kMostBlocks = std::numeric_limits<int>::max();
constexpr int64_t kMostSequences = int64_t{1} << 40;

absl::StatusOr<GradientPlace> GradientPlaceFromJson(const Json& json) {
  using Phase = GradientPlace::Phase;
  ASSIGN_OR_RETURN(const int64_t phase, Number(json, "gradient_phase", static_cast<int64_t>(Phase::kDone)));
  ASSIGN_OR_RETURN(const int64_t block, Number(json, "gradient_block", kMostBlocks));
  ASSIGN_OR_RETURN(const int64_t sequence, Number(json, "gradient_sequence", kMostSequences));
  return GradientPlace{static_cast<Phase>(phase), static_cast<int>(block), sequence};
}

}  // namespace

std::string PlaceJson(const QuantizePlace& place) {
  return Json{{"block", place.block},
              {"pass", place.pass},
              {"round_first", place.round_first},
              {"round_layers", place.round_layers},
              {"sequences", place.sequences},
              {"advancing", place.advancing ? 1 : 0},
              {"gradient_phase", static_cast<int>(place.gradients.phase)},
              {"gradient_block", place.gradients.block},
              {"gradient_sequence", place.gradients.sequence}}
      .dump();
}

std::string PlaceJson(const ComparisonPlace& place) {
  return Json{{"stage", static_cast<int>(place.stage)}, {"block", place.block}, {"window", place.window}}.dump();
}

absl::StatusOr<QuantizePlace> QuantizePlaceFromJson(const std::string& text) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(text, kWhat));
  ASSIGN_OR_RETURN(const int64_t block, Number(json, "block", kMostBlocks));
  ASSIGN_OR_RETURN(const int64_t pass, Number(json, "pass", kMostBlocks));
  ASSIGN_OR_RETURN(const int64_t round_first, Number(json, "round_first", kMostBlocks));
  ASSIGN_OR_RETURN(const int64_t round_layers, Number(json, "round_layers", kMostBlocks));
  ASSIGN_OR_RETURN(const int64_t sequences, Number(json, "sequences", kMostSequences));
  ASSIGN_OR_RETURN(const int64_t advancing, Number(json, "advancing", 1));
  ASSIGN_OR_RETURN(const GradientPlace gradients, GradientPlaceFromJson(json));
  return QuantizePlace{.block = static_cast<int>(block),
                       .pass = static_cast<int>(pass),
                       .round_first = static_cast<int>(round_first),
                       .round_layers = static_cast<int>(round_layers),
                       .sequences = sequences,
                       .advancing = advancing == 1,
                       .gradients = gradients};
}

absl::StatusOr<ComparisonPlace> ComparisonPlaceFromJson(const std::string& text) {
  using Stage = ComparisonPlace::Stage;
  ASSIGN_OR_RETURN(const Json json, ParseJson(text, kWhat));
  ASSIGN_OR_RETURN(const int64_t stage, Number(json, "stage", static_cast<int64_t>(Stage::kScores)));
  ASSIGN_OR_RETURN(const int64_t block, Number(json, "block", kMostBlocks));
  ASSIGN_OR_RETURN(const int64_t window, Number(json, "window", kMostSequences));
  return ComparisonPlace{static_cast<Stage>(stage), static_cast<int>(block), window};
}

}  // namespace quantd
