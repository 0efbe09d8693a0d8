// What was proven about an export: the written bytes were opened by an independent decoder and compared with the
// artifact's own weights, module by module.
//
//   LoadCertificate certificate;
//   certificate.layout = "gptq_v2"; ...
//   for each module, in blocks of rows: certificate.Compare(name, expected, decoded);
//   if (!certificate.exact()) ... the worst module and its error are named
//   manifest_export.certificate_json = JsonText(certificate.ToJson());
//
// Not thread-safe.
#ifndef QUANTD_CORE_FORMATS_LOAD_CERTIFICATE_H_
#define QUANTD_CORE_FORMATS_LOAD_CERTIFICATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/json.h"

namespace quantd {

struct LoadCertificate {
  std::string consumer;            // who is meant to load it
  std::string layout;              // the version of the layout written
  std::vector<std::string> rules;  // what was checked beside the values, one line each
  int64_t modules = 0;             // compared so far
  int64_t values = 0;
  int64_t different_values = 0;     // bit for bit; +0 and -0 count as equal
  double worst_absolute_error = 0;  // over all values
  double worst_relative_error = 0;  // |a - b| / |a|, infinite where a is 0 and b is not
  std::string worst_module;         // of the absolute error; empty when exact
  std::string last_module;          // compared last

  bool exact() const { return different_values == 0; }
  // Adds one block of a module; equally long spans. A new name counts a new module.
  void Compare(absl::string_view module, absl::Span<const float> expected, absl::Span<const float> decoded);
  Json ToJson() const;
};

}  // namespace quantd

#endif  // QUANTD_CORE_FORMATS_LOAD_CERTIFICATE_H_
