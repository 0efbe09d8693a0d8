#include "server/config/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace quantd {
namespace {

absl::Status AddressInvalid(absl::string_view text, absl::string_view why) {
  return InvalidInput(
      "ADDRESS_INVALID",
      absl::StrFormat("cannot listen on '%s': %s; write HOST:PORT with an address of this machine, like "
                      "127.0.0.1:7433 or [::1]:7433",
                      text, why));
}

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
};

bool ToSocketAddress(const ListenAddress& address, SocketAddress* out) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out->storage);
  if (inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(address.port));
    out->size = sizeof *v4;
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out->storage);
  if (inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) != 1) return false;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(static_cast<uint16_t>(address.port));
  out->size = sizeof *v6;
  return true;
}

}  // namespace

std::string ListenAddress::Text() const {
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text) {
  const size_t colon = text.rfind(':');
  ListenAddress address;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(text.substr(colon + 1), &address.port)) {
    return AddressInvalid(text, "it has no port");
  }
  if (address.port < 0 || address.port > 65535) return AddressInvalid(text, "a port is 0 to 65535");
  absl::string_view host = text.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) host = host.substr(1, host.size() - 2);
  address.host = host == "localhost" ? "127.0.0.1" : std::string(host);
  SocketAddress ignored;
  if (!ToSocketAddress(address, &ignored)) return AddressInvalid(text, "its host is no IP address");
  return address;
}

absl::Status CheckFree(const ListenAddress& address, absl::string_view flag) {
  SocketAddress socket_address;
  ToSocketAddress(address, &socket_address);
  const int fd = socket(socket_address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return AddressInvalid(address.Text(), strerror(errno));
  // Connections of a former daemon that still linger do not count.
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool bound = bind(fd, reinterpret_cast<const sockaddr*>(&socket_address.storage), socket_address.size) == 0 &&
                     ::listen(fd, 1) == 0;
  const int error_number = errno;
  close(fd);
  if (bound) return absl::OkStatus();
  if (error_number != EADDRINUSE) return AddressInvalid(address.Text(), strerror(error_number));
  return ReasonError(absl::StatusCode::kFailedPrecondition, "ADDRESS_IN_USE",
                     absl::StrFormat("%s is in use by another process; stop it, or choose another port with %s (0 "
                                     "takes a free one)",
                                     address.Text(), flag));
}

void Knock(const ListenAddress& address) {
  SocketAddress socket_address;
  ToSocketAddress(address, &socket_address);
  const int fd = socket(socket_address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  (void)connect(fd, reinterpret_cast<const sockaddr*>(&socket_address.storage), socket_address.size);
  close(fd);
}

}  // namespace quantd
