#include "core/quant/parameter_table.h"

#include "core/quant/part_registry.h"

namespace quantd {
namespace {

std::vector<ParameterInfo> ChoiceRows() {
  std::vector<ParameterInfo> rows;
  for (const PartInfo& part : Parts()) {
    std::vector<std::string> names = ChoiceNames(part);
    const std::string first = names.front();
    rows.push_back({.name = part.name,
                    .type = ParameterType::kChoice,
                    .default_value = first,
                    .choices = std::move(names),
                    .unit = "",
                    .help = part.question});
  }
  return rows;
}

std::vector<ParameterInfo> NumericRows() {
  return {
      {"bits", ParameterType::kInt, "4", 1, 8, {}, "bits", "width of one code"},
      {"group_size",
       ParameterType::kInt,
       "64",
       -1,
       1 << 20,
       {},
       "inputs",
       "inputs of a row that share one scale; must divide the layer's inputs; -1: the whole row"},
      {"damping",
       ParameterType::kFloat,
       "0.01",
       1e-6,
       10,
       {},
       "of the mean diagonal",
       "added to the diagonal of the sensitivity before it is factorized; tenfold on each retry"},
      {"solver_block_size",
       ParameterType::kInt,
       "128",
       1,
       2048,
       {},
       "inputs",
       "columns swept before their errors are spread over the rest; groups fitted on the way see whole blocks only"},
      {"calibration_sequences",
       ParameterType::kInt,
       "128",
       1,
       65536,
       {},
       "sequences",
       "calibration data used when a job does not say how much"},
  };
}

std::vector<ParameterInfo> SwitchRows() {
  return {
      {"symmetric", ParameterType::kBool, "false", 0, 0, {}, "", "levels around zero, no zero point stored"},
      {"symmetric_range",
       ParameterType::kChoice,
       "full",
       0,
       0,
       {"full", "authors"},
       "",
       "full: [-max, max] always; authors: the released GPTQ code's rule, which gives groups without negatives half "
       "the range"},
      {"clip_search",
       ParameterType::kChoice,
       "none",
       0,
       0,
       {"none", "mse"},
       "",
       "mse: shrink the range in steps of 1 % to the one with the least sum of |error|^2.4"},
      {"scale_dtype",
       ParameterType::kChoice,
       "f16",
       0,
       0,
       {"f16", "f32"},
       "",
       "how scales are stored; they are rounded to it before codes are computed"},
      {"per_row", ParameterType::kBool, "true", 0, 0, {}, "", "false: all rows of a group share one scale"},
      {"act_order", ParameterType::kBool, "false", 0, 0, {}, "", "sweep inputs in the order of falling sensitivity"},
      {"static_groups",
       ParameterType::kBool,
       "false",
       0,
       0,
       {},
       "",
       "fit every group before the sweep, so that act_order leaves the stored layout alone"},
      {"dead_columns",
       ParameterType::kChoice,
       "scale_free",
       0,
       0,
       {"scale_free", "authors"},
       "",
       "inputs that are always zero, in the mean diagonal that damping refers to: left out, or counted as 1 (the "
       "released GPTQ code)"},
      {"true_sequential",
       ParameterType::kBool,
       "false",
       0,
       0,
       {},
       "",
       "measure each input of a block again after the layers before it are quantized"},
      {"sensitivity_accumulation",
       ParameterType::kChoice,
       "f64",
       0,
       0,
       {"f64", "f32"},
       "",
       "running sums of the sensitivity; f32 halves their memory"},
  };
}

std::vector<ParameterInfo> RowsOfChoices() {
  std::vector<ParameterInfo> all;
  for (const PartInfo& part : Parts()) {
    for (const ChoiceInfo* choice : part.choices()) {
      if (choice->own_rows == nullptr) continue;
      const std::vector<ParameterInfo> rows = choice->own_rows();
      all.insert(all.end(), rows.begin(), rows.end());
    }
  }
  return all;
}

std::vector<ParameterInfo> MakeTable() {
  std::vector<ParameterInfo> table = ChoiceRows();
  for (auto rows : {NumericRows(), SwitchRows(), RowsOfChoices()}) table.insert(table.end(), rows.begin(), rows.end());
  return table;
}

}  // namespace

const std::vector<ParameterInfo>& ParameterTable() {
  static const auto* const kTable = new std::vector<ParameterInfo>(MakeTable());
  return *kTable;
}

const ParameterInfo* FindParameter(absl::string_view name) {
  for (const ParameterInfo& info : ParameterTable()) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

std::vector<std::string> ParameterNames() {
  std::vector<std::string> names;
  for (const ParameterInfo& info : ParameterTable()) names.push_back(info.name);
  return names;
}

absl::string_view ParameterTypeName(ParameterType type) {
  static constexpr absl::string_view kNames[] = {"int", "float", "bool", "choice"};
  return kNames[static_cast<int>(type)];
}

}  // namespace quantd
