// AWS Signature Version 4 of one HTTP request, over OpenSSL's HMAC.
//
// libcurl could sign too, but what it signs depends on its version: the one of Debian 12 sorts no query parameters,
// drops the '=' of those without a value and sends no digest of the body. Here the canonical request is made from the
// same strings that are sent.
#ifndef QUANTD_CORE_OBJECTS_AWS_SIGNATURE_H_
#define QUANTD_CORE_OBJECTS_AWS_SIGNATURE_H_

#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/objects/credentials.h"

namespace quantd {

struct SignedRequest {
  std::string method;  // "GET"
  std::string host;    // with the port when the Host header has it
  std::string path;    // percent-encoded, begins with '/'
  std::string query;   // percent-encoded, sorted by name, each with '=': "list-type=2&prefix=a"
  std::string body_sha256;
  std::map<std::string, std::string> headers = {};  // lower-case names; those that begin with x-amz- are signed
};

struct SigningScope {
  std::string region;
  std::string service = "s3";
  absl::Time time;
};

// The headers to send beside those of `request`: authorization, host, x-amz-content-sha256, x-amz-date and, with
// temporary credentials, x-amz-security-token.
std::map<std::string, std::string> SignatureHeaders(const SignedRequest& request, const SigningScope& scope,
                                                    const Credentials& credentials);

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_AWS_SIGNATURE_H_
