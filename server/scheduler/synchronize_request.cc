#include "server/scheduler/synchronize_request.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace quantd {
namespace {

constexpr int kMaxSlots = 1024;
constexpr size_t kMaxIdBytes = 128;
constexpr size_t kMaxDeviceBytes = 64;

}  // namespace

absl::Status CheckSynchronizeRequest(const v1::SynchronizeRequest& request) {
  const auto bad = [](absl::string_view field, absl::string_view why) {
    return WithField(InvalidInput("SYNCHRONIZE_INVALID", absl::StrCat(field, " ", why)), field);
  };
  if (request.worker_id().empty() || request.worker_id().size() > kMaxIdBytes) {
    return bad("worker_id", "must have 1 to 128 bytes");
  }
  if (request.incarnation().empty() || request.incarnation().size() > kMaxIdBytes) {
    return bad("incarnation", "must have 1 to 128 bytes");
  }
  if (request.slots() < 0 || request.slots() > kMaxSlots) return bad("slots", "must be 0 to 1024");
  const auto& devices = request.capabilities().devices();
  const auto is_long = [](const std::string& device) { return device.size() > kMaxDeviceBytes; };
  if (devices.size() > 16 || std::any_of(devices.begin(), devices.end(), is_long)) {
    return bad("capabilities.devices", "must be at most 16, each of at most 64 bytes");
  }
  if (request.running_size() > kMaxSlots || request.finished_size() > kMaxSlots) {
    return bad("running", "and finished must be at most 1024 each");
  }
  if (request.poll_ms() < 0) return bad("poll_ms", "must not be negative");
  return absl::OkStatus();
}

}  // namespace quantd
