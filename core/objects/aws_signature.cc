#include "core/objects/aws_signature.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/sha256.h"

namespace quantd {
namespace {

constexpr absl::string_view kAlgorithm = "AWS4-HMAC-SHA256";

std::string Hmac(absl::string_view key, absl::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), digest.data(), &size);
  return std::string(reinterpret_cast<const char*>(digest.data()), size);
}

std::string SigningKey(const std::string& secret, absl::string_view day, const SigningScope& scope) {
  const std::string date_key = Hmac(absl::StrCat("AWS4", secret), day);
  return Hmac(Hmac(Hmac(date_key, scope.region), scope.service), "aws4_request");
}

}  // namespace

std::map<std::string, std::string> SignatureHeaders(const SignedRequest& request, const SigningScope& scope,
                                                    const Credentials& credentials) {
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%SZ", scope.time, absl::UTCTimeZone());
  const std::string day = time.substr(0, 8);
  std::map<std::string, std::string> added = {
      {"host", request.host}, {"x-amz-content-sha256", request.body_sha256}, {"x-amz-date", time}};
  if (!credentials.session_token.empty()) added["x-amz-security-token"] = credentials.session_token;

  std::map<std::string, std::string> covered = added;
  for (const auto& [name, value] : request.headers) {
    if (absl::StartsWith(name, "x-amz-")) covered[name] = value;
  }
  std::string lines;
  std::vector<std::string> names;
  for (const auto& [name, value] : covered) {
    absl::StrAppend(&lines, name, ":", value, "\n");
    names.push_back(name);
  }
  const std::string signed_names = absl::StrJoin(names, ";");
  const std::string canonical =
      absl::StrJoin({request.method, request.path, request.query, lines, signed_names, request.body_sha256}, "\n");
  const std::string credential_scope = absl::StrCat(day, "/", scope.region, "/", scope.service, "/aws4_request");
  const std::string to_sign = absl::StrCat(kAlgorithm, "\n", time, "\n", credential_scope, "\n", Sha256Hex(canonical));
  const std::string signature =
      absl::BytesToHexString(Hmac(SigningKey(credentials.secret_access_key, day, scope), to_sign));
  added["authorization"] = absl::StrCat(kAlgorithm, " Credential=", credentials.access_key_id, "/", credential_scope,
                                        ", SignedHeaders=", signed_names, ", Signature=", signature);
  return added;
}

}  // namespace quantd
