#include "core/base/clock.h"

#include "absl/time/clock.h"

namespace quantd {
namespace {

class SystemClock : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
};

}  // namespace

Clock& RealClock() {
  static auto* const clock = new SystemClock;
  return *clock;
}

}  // namespace quantd
