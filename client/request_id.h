// Ids of submissions: a retry with the same one gives the same job.
#ifndef QUANTD_CLIENT_REQUEST_ID_H_
#define QUANTD_CLIENT_REQUEST_ID_H_

#include <string>

namespace quantd {

// A random UUID (version 4), from the operating system's generator.
std::string NewRequestId();

}  // namespace quantd

#endif  // QUANTD_CLIENT_REQUEST_ID_H_
