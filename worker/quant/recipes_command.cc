#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "core/base/json.h"
#include "core/quant/recipe.h"
#include "worker/quant/command.h"

namespace quantd {
namespace {

std::string Text(const Json& object, const char* key) {
  return object.value(key, std::string());
}

void PrintPreset(const Json& preset) {
  std::printf("%s: %s\n  from %s\n", Text(preset, "name").c_str(), Text(preset, "summary").c_str(),
              Text(preset, "provenance").c_str());
  for (const auto& [part, choice] : preset.at("parts").items()) {
    std::printf("  %-12s %s\n", part.c_str(), choice.get<std::string>().c_str());
  }
}

void PrintParameters(const Json& catalogue, const Json& preset) {
  std::printf("\nParameters (--set NAME=VALUE)\n");
  for (const Json& parameter : catalogue.at("parameters")) {
    const std::string name = Text(parameter, "name");
    const Json& own = preset.at("defaults");
    const std::string value = own.contains(name) ? own.at(name).get<std::string>() : Text(parameter, "default_value");
    std::printf("  %-26s %-7s default %-10s %s\n", name.c_str(), Text(parameter, "type").c_str(), value.c_str(),
                Text(parameter, "help").c_str());
  }
}

absl::Status Run(const std::string& name) {
  const Json catalogue = RecipeCatalogue();
  if (JsonOutput()) {
    std::printf("%s", JsonText(catalogue).c_str());
    return absl::OkStatus();
  }
  const Json& presets = catalogue.at("presets");
  if (name.empty()) {
    for (const Json& preset : presets)
      std::printf("%-12s %s\n", Text(preset, "name").c_str(), Text(preset, "summary").c_str());
    return absl::OkStatus();
  }
  const auto it = std::find_if(presets.begin(), presets.end(), [&](const Json& p) { return Text(p, "name") == name; });
  if (it == presets.end()) return MakeRecipe(name, Json::object(), {}).status();
  PrintPreset(*it);
  PrintParameters(catalogue, *it);
  return absl::OkStatus();
}

}  // namespace

void AddRecipesCommand(CLI::App& app, CommandBody* chosen) {
  CLI::App* command = app.add_subcommand("recipes", "List methods, their parts and parameters");
  const auto name = std::make_shared<std::string>();
  command->add_option("name", *name, "Preset to explain");
  AddJsonFlag(*command);
  command->callback([name, chosen] { *chosen = [name] { return Run(*name); }; });
}

}  // namespace quantd
