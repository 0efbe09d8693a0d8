// A GET for tests, and the text format of Prometheus read into numbers.
#ifndef QUANTD_TESTS_TESTING_HTTP_GET_H_
#define QUANTD_TESTS_TESTING_HTTP_GET_H_

#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

struct HttpAnswer {
  int code = 0;  // 0: no answer
  std::string head;
  std::string body;
};

// `address`: IPv4:PORT. `request` is the first line without its version: "GET /metrics".
HttpAnswer HttpCall(const std::string& address, const std::string& request);

// Series with its labels, as printed -> value: `quantd_jobs{state="queued"}` -> 1.
std::map<std::string, double> ParseMetrics(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_HTTP_GET_H_
