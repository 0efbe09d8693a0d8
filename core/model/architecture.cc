#include "core/model/architecture.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/excerpt.h"
#include "core/base/status.h"

namespace quantd {

const LinearDescriptor* Architecture::Find(Role role) const {
  for (const LinearDescriptor& linear : linears) {
    if (linear.role == role) return &linear;
  }
  return nullptr;
}

bool Architecture::HasNorm(NormRole role) const {
  return std::any_of(norms.begin(), norms.end(), [role](const NormDescriptor& row) { return row.role == role; });
}

absl::StatusOr<const Architecture*> FindArchitecture(absl::string_view model_type, absl::string_view name,
                                                     absl::string_view source) {
  for (const Architecture* architecture : KnownArchitectures()) {
    if (model_type == architecture->model_type) return architecture;
  }
  for (const Architecture* architecture : KnownArchitectures()) {
    if (model_type.empty() && name == architecture->name) return architecture;
  }
  const std::string known = absl::StrJoin(KnownArchitectures(), ", ",
                                          [](std::string* out, const Architecture* a) { out->append(a->model_type); });
  return InvalidInput("ARCHITECTURE_UNKNOWN",
                      absl::StrFormat("%s: architecture '%s' (%s) is not supported; known are %s", source,
                                      Excerpt(model_type), Excerpt(name), known));
}

}  // namespace quantd
