// The tables as JSON, in the shape of quantd.v1.ListRecipesResponse.
#include <nlohmann/json.hpp>

#include "core/quant/parameter_table.h"
#include "core/quant/part_registry.h"
#include "core/quant/preset_table.h"
#include "core/quant/recipe.h"

namespace quantd {
namespace {

Json SettingsJson(const std::vector<PresetInfo::Setting>& settings) {
  Json object = Json::object();
  for (const auto& [name, value] : settings) object[name] = value;
  return object;
}

Json PresetJson(const PresetInfo& preset) {
  return {{"name", preset.name},
          {"summary", preset.summary},
          {"parts", SettingsJson(preset.parts)},
          {"defaults", SettingsJson(preset.defaults)},
          {"provenance", preset.provenance}};
}

Json ChoiceJson(const PartInfo& part, const ChoiceInfo& choice) {
  Json parameters = Json::array();
  for (const char* name : choice.parameters) parameters.push_back(name);
  return {{"part", part.name}, {"name", choice.name}, {"summary", choice.summary}, {"parameters", parameters}};
}

Json ParameterJson(const ParameterInfo& info) {
  return {{"name", info.name},
          {"type", std::string(ParameterTypeName(info.type))},
          {"default_value", info.default_value},
          {"minimum", info.minimum},
          {"maximum", info.maximum},
          {"choices", info.choices},
          {"unit", info.unit},
          {"help", info.help}};
}

}  // namespace

Json RecipeCatalogue() {
  Json catalogue = {{"presets", Json::array()}, {"choices", Json::array()}, {"parameters", Json::array()}};
  for (const PresetInfo& preset : PresetTable()) catalogue["presets"].push_back(PresetJson(preset));
  for (const PartInfo& part : Parts()) {
    for (const ChoiceInfo* choice : part.choices()) catalogue["choices"].push_back(ChoiceJson(part, *choice));
  }
  for (const ParameterInfo& info : ParameterTable()) catalogue["parameters"].push_back(ParameterJson(info));
  return catalogue;
}

}  // namespace quantd
