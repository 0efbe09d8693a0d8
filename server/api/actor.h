// Who calls, as the audit log names them.
#ifndef QUANTD_SERVER_API_ACTOR_H_
#define QUANTD_SERVER_API_ACTOR_H_

#include <string>

#include "absl/strings/string_view.h"

namespace quantd {

// "ipv4:10.0.0.7:51234", "ipv6:%5B::1%5D:51234", "unix:" -> "client:10.0.0.7", "client:::1", "client:unix". The port is
// left out: it differs with every connection.
std::string ClientActor(absl::string_view peer);

}  // namespace quantd

#endif  // QUANTD_SERVER_API_ACTOR_H_
