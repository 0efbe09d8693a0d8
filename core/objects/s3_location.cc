#include "core/objects/s3_location.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr absl::string_view kScheme = "s3://";
constexpr size_t kMaxUriBytes = 1024;  // a key has at most 1024 bytes

bool IsUnreserved(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-_.~", c);
}

bool IsBucket(absl::string_view bucket) {
  const auto allowed = [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) || absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
           c == '.' || c == '-';
  };
  return bucket.size() >= 3 && bucket.size() <= 63 && std::all_of(bucket.begin(), bucket.end(), allowed) &&
         absl::ascii_isalnum(static_cast<unsigned char>(bucket.front())) &&
         absl::ascii_isalnum(static_cast<unsigned char>(bucket.back())) && !absl::StrContains(bucket, "..");
}

bool IsKeyPart(absl::string_view part) {
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("._-=+@", c);
  };
  return !part.empty() && part != "." && part != ".." && std::all_of(part.begin(), part.end(), allowed);
}

std::string Encode(absl::string_view text, absl::string_view kept) {
  std::string out;
  for (const char c : text) {
    if (IsUnreserved(c) || absl::StrContains(kept, c)) {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

absl::Status BadUri(absl::string_view text) {
  return InvalidInput(
      "OBJECT_URI_INVALID",
      absl::StrFormat(
          "'%s' names nothing in an object store: it must be s3://BUCKET/KEY, a bucket of 3 to 63 "
          "lower-case letters, digits, '.' and '-', and a key of at most %d bytes whose parts have letters, "
          "digits, '.', '_', '-', '=', '+' and '@'",
          absl::CHexEscape(text.substr(0, 200)), kMaxUriBytes));
}

absl::Status BadEndpoint(absl::string_view url) {
  return InvalidInput("OBJECT_ENDPOINT_INVALID",
                      absl::StrFormat("'%s' is no address of an object store; it must be http://HOST[:PORT] or "
                                      "https://HOST[:PORT], without a path",
                                      absl::CHexEscape(url.substr(0, 200))));
}

}  // namespace

std::string S3Location::Uri() const {
  return absl::StrCat(kScheme, bucket, "/", key);
}

S3Location S3Location::Below(absl::string_view name) const {
  if (key.empty() || absl::EndsWith(key, "/")) return {bucket, absl::StrCat(key, name)};
  return {bucket, absl::StrCat(key, "/", name)};
}

bool IsS3Uri(absl::string_view text) {
  return absl::StartsWith(text, kScheme);
}

absl::StatusOr<S3Location> ParseS3Uri(absl::string_view text) {
  absl::string_view rest = text;
  if (text.size() > kMaxUriBytes || !absl::ConsumePrefix(&rest, kScheme)) return BadUri(text);
  const std::vector<absl::string_view> halves = absl::StrSplit(rest, absl::MaxSplits('/', 1));
  if (!IsBucket(halves[0])) return BadUri(text);
  if (halves.size() == 1 || halves[1].empty()) return S3Location{std::string(halves[0]), ""};
  const absl::string_view key = absl::StripSuffix(halves[1], "/");
  const std::vector<absl::string_view> parts = absl::StrSplit(key, '/');
  if (!std::all_of(parts.begin(), parts.end(), &IsKeyPart)) return BadUri(text);
  return S3Location{std::string(halves[0]), std::string(key)};
}

absl::StatusOr<S3Endpoint> ParseS3Endpoint(absl::string_view url, absl::string_view region) {
  if (url.empty()) return S3Endpoint{"https", absl::StrCat("s3.", region, ".amazonaws.com")};
  const std::vector<absl::string_view> halves = absl::StrSplit(url, absl::MaxSplits("://", 1));
  if (halves.size() != 2 || (halves[0] != "http" && halves[0] != "https")) return BadEndpoint(url);
  absl::string_view authority = absl::StripSuffix(halves[1], "/");
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(".-:[]", c);
  };
  if (authority.empty() || !std::all_of(authority.begin(), authority.end(), allowed)) return BadEndpoint(url);
  // HTTP clients leave out the scheme's own port, and the signature covers what they send.
  authority = absl::StripSuffix(authority, halves[0] == "http" ? ":80" : ":443");
  return S3Endpoint{std::string(halves[0]), std::string(authority)};
}

std::string EncodePath(absl::string_view text) {
  return Encode(text, "/");
}

std::string EncodeQuery(absl::string_view text) {
  return Encode(text, "");
}

std::string DecodePercent(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() &&
                        absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) &&
                        absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]));
    if (escape) {
      out += absl::HexStringToBytes(text.substr(i + 1, 2));
      i += 2;
    } else {
      out.push_back(text[i] == '+' ? ' ' : text[i]);  // as forms encode it, which some stores do
    }
  }
  return out;
}

}  // namespace quantd
