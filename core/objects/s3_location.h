// Names of objects: s3://bucket/key, and the URLs that requests for them go to.
#ifndef QUANTD_CORE_OBJECTS_S3_LOCATION_H_
#define QUANTD_CORE_OBJECTS_S3_LOCATION_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantd {

// An object, or with a key that is empty or a prefix, a part of a bucket.
struct S3Location {
  std::string bucket;
  std::string key;  // no leading slash; no trailing one unless it was made by Below
  std::string Uri() const;
  // The object `name` below this prefix.
  S3Location Below(absl::string_view name) const;
};

bool IsS3Uri(absl::string_view text);

// "s3://bucket/prefix/model". The bucket has 3 to 63 lower-case letters, digits, '.' and '-'; the parts of the key have
// letters, digits, '.', '_', '-', '=', '+' and '@' and are not "." or ".."; a trailing slash is dropped.
// INVALID_ARGUMENT OBJECT_URI_INVALID.
absl::StatusOr<S3Location> ParseS3Uri(absl::string_view text);

// Where the store answers.
struct S3Endpoint {
  std::string scheme;     // "https"
  std::string authority;  // host, with the port unless it is the scheme's own
};

// "http://127.0.0.1:9000"; empty: the region's endpoint at Amazon. INVALID_ARGUMENT OBJECT_ENDPOINT_INVALID.
absl::StatusOr<S3Endpoint> ParseS3Endpoint(absl::string_view url, absl::string_view region);

// Percent-encodes all but letters, digits and "-_.~", as signatures want it; '/' stays unless it is part of a query.
std::string EncodePath(absl::string_view text);
std::string EncodeQuery(absl::string_view text);
// The reverse; malformed escapes stay as they are.
std::string DecodePercent(absl::string_view text);

}  // namespace quantd

#endif  // QUANTD_CORE_OBJECTS_S3_LOCATION_H_
