// Addresses to listen on: parsed, and tried before a library that says only "failed" gets them.
#ifndef QUANTD_SERVER_CONFIG_LISTEN_ADDRESS_H_
#define QUANTD_SERVER_CONFIG_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

struct ListenAddress {
  std::string host;  // an IPv4 or IPv6 address
  int port = 0;
  std::string Text() const;  // "127.0.0.1:80", "[::1]:80"
};

// "127.0.0.1:7433", "[::1]:7433", "localhost:0", which is 127.0.0.1. INVALID_ARGUMENT ADDRESS_INVALID.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

// Binds and lets go again; `flag` is the one that messages name. FAILED_PRECONDITION ADDRESS_IN_USE; INVALID_ARGUMENT
// ADDRESS_INVALID when this machine does not have the address or the port is not allowed.
absl::Status CheckFree(const ListenAddress& address, absl::string_view flag);

// Connects and hangs up: wakes a server of ours that waits for a caller. Nothing happens when nobody listens.
void Knock(const ListenAddress& address);

}  // namespace quantd

#endif  // QUANTD_SERVER_CONFIG_LISTEN_ADDRESS_H_
