#include "client/server_list.h"

#include <netdb.h>
#include <sys/socket.h>

#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace quantd {
namespace {

std::string NumericAddress(const addrinfo& found) {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  const int error = getnameinfo(found.ai_addr, found.ai_addrlen, host, sizeof host, port, sizeof port,
                                NI_NUMERICHOST | NI_NUMERICSERV);
  if (error != 0) return "";
  return found.ai_family == AF_INET6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

// The first address of "host:port" in this family; "" when there is none.
std::string Resolve(absl::string_view server, int family) {
  const size_t colon = server.rfind(':');
  if (colon == absl::string_view::npos) return "";
  absl::string_view host = server.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) host = host.substr(1, host.size() - 2);
  addrinfo wanted = {};
  wanted.ai_family = family;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port(server.substr(colon + 1));
  if (getaddrinfo(std::string(host).c_str(), port.c_str(), &wanted, &found) != 0 || found == nullptr) return "";
  const absl::Cleanup free_list = [found] { freeaddrinfo(found); };
  return NumericAddress(*found);
}

std::vector<std::string> ResolveAll(const std::vector<std::string>& servers, int family) {
  std::vector<std::string> addresses;
  for (const std::string& server : servers) {
    const std::string address = Resolve(server, family);
    if (!address.empty()) addresses.push_back(address);
  }
  return addresses;
}

}  // namespace

bool IsServerList(absl::string_view servers) {
  return absl::StrContains(servers, ',');
}

std::string TargetOfServerList(absl::string_view servers) {
  std::vector<std::string> entries;
  for (absl::string_view entry : absl::StrSplit(servers, ',')) {
    entry = absl::StripAsciiWhitespace(entry);
    if (!entry.empty()) entries.push_back(std::string(entry));
  }
  const std::vector<std::string> v4 = ResolveAll(entries, AF_INET);
  if (!v4.empty()) return absl::StrCat("ipv4:", absl::StrJoin(v4, ","));
  const std::vector<std::string> v6 = ResolveAll(entries, AF_INET6);
  if (!v6.empty()) return absl::StrCat("ipv6:", absl::StrJoin(v6, ","));
  return entries.empty() ? std::string(servers) : entries.front();
}

}  // namespace quantd
