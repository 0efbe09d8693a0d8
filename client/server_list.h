// "quant-1:7433,quant-2:7433": the servers of one queue, as a target that gRPC understands.
#ifndef QUANTD_CLIENT_SERVER_LIST_H_
#define QUANTD_CLIENT_SERVER_LIST_H_

#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

// A comma separates servers; without one the text is a gRPC target of its own and is left alone.
bool IsServerList(absl::string_view servers);

// "ipv4:10.0.0.1:7433,10.0.0.2:7433" (or "ipv6:..."), which a channel balances over. Names are looked up now, once; a
// server whose name is unknown, or that has no port, is left out. One list holds one family: IPv4 when any server has
// such an address. Without any address the first entry is returned, so that the call's error names it.
std::string TargetOfServerList(absl::string_view servers);

}  // namespace quantd

#endif  // QUANTD_CLIENT_SERVER_LIST_H_
