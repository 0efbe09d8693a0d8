#include "server/api/actor.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace quantd {

std::string ClientActor(absl::string_view peer) {
  if (absl::StartsWith(peer, "unix")) return "client:unix";
  const bool v6 = absl::ConsumePrefix(&peer, "ipv6:");
  if (!v6) absl::ConsumePrefix(&peer, "ipv4:");
  std::string host(peer.substr(0, peer.rfind(':')));
  if (v6) host = absl::StrReplaceAll(host, {{"%5B", ""}, {"%5D", ""}, {"%25", "%"}, {"[", ""}, {"]", ""}});
  return absl::StrCat("client:", host.empty() ? "unknown" : host);
}

}  // namespace quantd
