// The catalogue of recipes as help text. Everything comes from ListRecipes: a method that the server learns shows up
// here without a new client.
#ifndef QUANTD_CLIENT_TEXT_RECIPE_TEXT_H_
#define QUANTD_CLIENT_TEXT_RECIPE_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quantd/v1/quant_service.pb.h"

namespace quantd {

// One line a preset.
std::string RecipesText(const v1::ListRecipesResponse& catalogue);

// One preset: its parts with what they do, then every parameter that they read, with type, default, range and help.
// NOT_FOUND, reason RECIPE_UNKNOWN, with the known names.
absl::StatusOr<std::string> RecipeText(const v1::ListRecipesResponse& catalogue, absl::string_view preset);

}  // namespace quantd

#endif  // QUANTD_CLIENT_TEXT_RECIPE_TEXT_H_
