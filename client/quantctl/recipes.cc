// quantctl recipes
#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/quantctl/commands.h"
#include "client/text/error_text.h"
#include "client/text/recipe_text.h"
#include "core/base/status.h"

namespace quantd {
namespace {

struct RecipesOptions {
  std::string name;
  bool names = false;
};

constexpr char kFooter[] =
    "Examples:\n"
    "  quantctl recipes\n"
    "  quantctl recipes gptq\n"
    "  quantctl recipes --json | jq -r '.parameters[].name'\n";

std::string NameLines(const v1::ListRecipesResponse& catalogue) {
  std::string text;
  for (const v1::Preset& preset : catalogue.presets()) absl::StrAppend(&text, Printable(preset.name()), "\n");
  return text;
}

absl::StatusOr<ExitCode> Recipes(Session& session, const RecipesOptions& options) {
  ASSIGN_OR_RETURN(const v1::ListRecipesResponse catalogue, session.client().Recipes());
  if (session.json) {
    RETURN_IF_ERROR(session.PrintJson(catalogue));
  } else if (options.names) {
    session.Print(NameLines(catalogue));
  } else if (options.name.empty()) {
    session.Print(RecipesText(catalogue));
    session.Note("`quantctl recipes NAME` shows the parameters of one.\n");
  } else {
    ASSIGN_OR_RETURN(const std::string text, RecipeText(catalogue, options.name));
    session.Print(text);
  }
  return ExitCode::kOk;
}

}  // namespace

void DefineRecipes(CLI::App& app, Session& session) {
  const auto options = std::make_shared<RecipesOptions>();
  app.add_option("name", options->name, "recipe to describe; default: list all");
  app.add_flag("--names", options->names, "recipe names alone, one a line");
  app.footer(kFooter);
  app.callback([options, &session] { session.action = [options, &session] { return Recipes(session, *options); }; });
}

}  // namespace quantd
