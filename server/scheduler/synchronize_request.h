// What may be wrong with a worker's call, before anything is done about it.
#ifndef QUANTD_SERVER_SCHEDULER_SYNCHRONIZE_REQUEST_H_
#define QUANTD_SERVER_SCHEDULER_SYNCHRONIZE_REQUEST_H_

#include "absl/status/status.h"
#include "quantd/v1/worker_service.pb.h"

namespace quantd {

// Sizes and ranges: INVALID_ARGUMENT SYNCHRONIZE_INVALID names the field.
absl::Status CheckSynchronizeRequest(const v1::SynchronizeRequest& request);

}  // namespace quantd

#endif  // QUANTD_SERVER_SCHEDULER_SYNCHRONIZE_REQUEST_H_
