#include "tests/testing/http_get.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace quantd {
namespace {

int Connected(const std::string& address) {
  const std::vector<std::string> parts = absl::StrSplit(address, ':');
  int port = 0;
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[1], &port) ||
      inet_pton(AF_INET, parts[0].c_str(), &to.sin_addr) != 1) {
    return -1;
  }
  to.sin_port = htons(static_cast<uint16_t>(port));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return fd;
  close(fd);
  return -1;
}

// The server closes the connection after its answer.
std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(got));
  return text;
}

}  // namespace

HttpAnswer HttpCall(const std::string& address, const std::string& request) {
  const int fd = Connected(address);
  if (fd < 0) return {};
  const std::string text = absl::StrCat(request, " HTTP/1.1\r\nHost: ", address, "\r\nConnection: close\r\n\r\n");
  HttpAnswer answer;
  if (send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size())) {
    const std::vector<std::string> parts = absl::StrSplit(ReadAll(fd), absl::MaxSplits("\r\n\r\n", 1));
    answer.head = parts[0];
    if (parts.size() > 1) answer.body = parts[1];
    if (answer.head.size() >= 12) (void)absl::SimpleAtoi(answer.head.substr(9, 3), &answer.code);
  }
  close(fd);
  return answer;
}

std::map<std::string, double> ParseMetrics(absl::string_view text) {
  std::map<std::string, double> series;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const size_t space = line.rfind(' ');
    double value = 0;
    if (absl::StartsWith(line, "#") || space == absl::string_view::npos) continue;
    if (absl::SimpleAtod(line.substr(space + 1), &value)) series[std::string(line.substr(0, space))] = value;
  }
  return series;
}

}  // namespace quantd
