// Are two submissions with one request id the same?
#ifndef QUANTD_SERVER_STORE_REQUEST_DIGEST_H_
#define QUANTD_SERVER_STORE_REQUEST_DIGEST_H_

#include <string>

#include "quantd/v1/quant_job.pb.h"

namespace quantd {

// Bytes that are equal exactly when the messages are: map entries in key order.
std::string DeterministicBytes(const google::protobuf::Message& message);

// Name of the first top-level field that differs ("recipe"); empty when the specs are equal.
std::string FirstDifference(const v1::QuantJobSpec& a, const v1::QuantJobSpec& b);

}  // namespace quantd

#endif  // QUANTD_SERVER_STORE_REQUEST_DIGEST_H_
