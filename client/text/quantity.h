// Numbers for people.
#ifndef QUANTD_CLIENT_TEXT_QUANTITY_H_
#define QUANTD_CLIENT_TEXT_QUANTITY_H_

#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <string>

namespace quantd {

// "812 B", "4.20 MB", "1.31 GB": three digits, powers of 1000.
std::string BytesText(int64_t bytes);

// "5,767,168".
std::string CountText(int64_t count);

// "0:07", "12:05", "3:00:00"; "-" for a negative or unknown number.
std::string DurationText(double seconds);

// "2024-05-01 12:00:07" in UTC; "-" when unset.
std::string TimeText(const google::protobuf::Timestamp& time);

}  // namespace quantd

#endif  // QUANTD_CLIENT_TEXT_QUANTITY_H_
