#include "client/job_filter.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quantd {
namespace {

// A value in quotes may hold anything but a quote; the server names what it does not take.
std::string Quoted(const std::string& value) {
  return absl::StrCat("\"", value, "\"");
}

}  // namespace

std::string FilterText(const JobFilter& filter) {
  std::vector<std::string> terms;
  if (!filter.states.empty()) {
    terms.push_back(absl::StrCat("state = ", absl::AsciiStrToUpper(absl::StrJoin(filter.states, " OR "))));
  }
  if (!filter.recipe.empty()) terms.push_back(absl::StrCat("recipe = ", Quoted(filter.recipe)));
  if (!filter.model.empty()) terms.push_back(absl::StrCat("model = ", Quoted(filter.model)));
  return absl::StrJoin(terms, " AND ");
}

}  // namespace quantd
