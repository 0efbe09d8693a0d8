// Conversion of JSON values to typed parameters, and the Parameters container.
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "core/quant/name_suggestion.h"
#include "core/quant/parameter_table.h"

namespace quantd {
namespace {

constexpr size_t kLongestQuote = 64;

// What was given, short enough for a message.
std::string Quoted(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kLongestQuote) text = text.substr(0, kLongestQuote) + "...";
  return text;
}

absl::Status WrongType(const ParameterInfo& info, const Json& value, absl::string_view expected) {
  return InvalidInput("RECIPE_PARAMETER_TYPE",
                      absl::StrFormat("recipe parameter '%s' must be %s, not %s", info.name, expected, Quoted(value)));
}

absl::Status CheckRange(const ParameterInfo& info, double number, const Json& value) {
  if (number >= info.minimum && number <= info.maximum) return absl::OkStatus();  // false for NaN
  return InvalidInput("RECIPE_PARAMETER_OUT_OF_RANGE",
                      absl::StrFormat("recipe parameter '%s' is %s; allowed are %g to %g%s%s", info.name, Quoted(value),
                                      info.minimum, info.maximum, info.unit.empty() ? "" : " ", info.unit));
}

absl::StatusOr<double> NumberOf(const ParameterInfo& info, const Json& value, absl::string_view expected) {
  double number = 0;
  if (value.is_number()) return value.get<double>();
  if (value.is_string() && absl::SimpleAtod(value.get_ref<const std::string&>(), &number)) return number;
  return WrongType(info, value, expected);
}

absl::StatusOr<ParameterValue> IntFromJson(const ParameterInfo& info, const Json& value) {
  ASSIGN_OR_RETURN(const double number, NumberOf(info, value, "a whole number"));
  if (std::isfinite(number) && number != std::floor(number)) return WrongType(info, value, "a whole number");
  RETURN_IF_ERROR(CheckRange(info, number, value));
  return ParameterValue(static_cast<int64_t>(number));  // bounds are far inside 2^53
}

absl::StatusOr<ParameterValue> FloatFromJson(const ParameterInfo& info, const Json& value) {
  ASSIGN_OR_RETURN(const double number, NumberOf(info, value, "a number"));
  RETURN_IF_ERROR(CheckRange(info, number, value));
  return ParameterValue(number);
}

absl::StatusOr<ParameterValue> BoolFromJson(const ParameterInfo& info, const Json& value) {
  bool flag = false;
  if (value.is_boolean()) return ParameterValue(value.get<bool>());
  if (value.is_string() && absl::SimpleAtob(value.get_ref<const std::string&>(), &flag)) return ParameterValue(flag);
  return WrongType(info, value, "true or false");
}

absl::StatusOr<ParameterValue> ChoiceFromJson(const ParameterInfo& info, const Json& value) {
  if (!value.is_string()) return WrongType(info, value, "a name");
  const std::string& name = value.get_ref<const std::string&>();
  for (const std::string& choice : info.choices) {
    if (choice == name) return ParameterValue(name);
  }
  return InvalidInput("RECIPE_UNKNOWN_CHOICE", absl::StrFormat("recipe parameter '%s' has no choice %s; %s", info.name,
                                                               Quoted(value), KnownNames(info.choices, name)));
}

}  // namespace

absl::StatusOr<ParameterValue> ParameterFromJson(const ParameterInfo& info, const Json& value) {
  using Convert = absl::StatusOr<ParameterValue> (*)(const ParameterInfo&, const Json&);
  static constexpr Convert kConverters[] = {&IntFromJson, &FloatFromJson, &BoolFromJson, &ChoiceFromJson};
  return kConverters[static_cast<int>(info.type)](info, value);
}

Parameters DefaultParameters() {
  Parameters parameters;
  for (const ParameterInfo& info : ParameterTable()) {
    // Rows of the table are valid by test; value() would throw for one that is not.
    parameters.Set(info.name, ParameterFromJson(info, Json(info.default_value)).value());
  }
  return parameters;
}

// Every name in the table is present in a complete set, so that a miss is a misspelling in our own code.
int64_t Parameters::Int(absl::string_view name) const {
  return std::get<int64_t>(values_.at(std::string(name)));
}
double Parameters::Double(absl::string_view name) const {
  return std::get<double>(values_.at(std::string(name)));
}
bool Parameters::Bool(absl::string_view name) const {
  return std::get<bool>(values_.at(std::string(name)));
}
const std::string& Parameters::Text(absl::string_view name) const {
  return std::get<std::string>(values_.at(std::string(name)));
}

void Parameters::Set(absl::string_view name, ParameterValue value) {
  values_[std::string(name)] = std::move(value);
}

Json Parameters::ToJson() const {
  Json object = Json::object();
  for (const auto& [name, value] : values_) {
    std::visit([&, key = &name](const auto& held) { object[*key] = held; }, value);
  }
  return object;
}

}  // namespace quantd
