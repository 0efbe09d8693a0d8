// The power fails at a random operation of the disk; what is not synced is lost, in part, or torn. Whatever a client or
// a worker was told before is still true afterwards.
//
// QUANTD_POWER_LOSS_SEEDS=N runs N seeds instead of 500.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/durability/simulated_service.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

// Failures that hit one data directory after the other: the later ones find a longer history.
constexpr int kFailuresPerDirectory = 10;
// Operations of a disk before it fails; making and migrating the directory takes about 30.
constexpr int kMaxOperations = 600;

int Seeds() {
  int seeds = 500;
  if (const char* text = std::getenv("QUANTD_POWER_LOSS_SEEDS"); text != nullptr) {
    EXPECT_TRUE(absl::SimpleAtoi(text, &seeds)) << text;
  }
  return seeds;
}

class PowerLoss : public testing::Test {
 protected:
  // Works until the power fails, then looks at what is left.
  void FailOnce(SimulatedService& service, uint64_t seed) {
    std::mt19937_64 random(seed);
    service.disk().CutPowerAt(static_cast<int64_t>(random() % kMaxOperations), /*short_write=*/random() % 2 == 0);
    if (service.running() || service.Start().ok()) service.RunUntilFailure(seed);
    ASSERT_TRUE(service.disk().failed()) << "nothing was cut off";
    service.Stop();
    service.disk().LosePower(seed);
    ASSERT_OK(service.Start());
    service.ExpectPromisesKept();
  }
};

TEST_F(PowerLoss, WhatWasAcknowledgedIsThere) {
  const int seeds = Seeds();
  size_t submitted = 0, succeeded = 0, cancelled = 0;
  for (int first = 0; first < seeds; first += kFailuresPerDirectory) {
    SimulatedService service;
    for (int seed = first; seed < std::min(first + kFailuresPerDirectory, seeds); ++seed) {
      SCOPED_TRACE(absl::StrCat("seed ", seed));
      FailOnce(service, static_cast<uint64_t>(seed));
      if (HasFatalFailure()) return;
      // Half of the time the next failure meets a log that was not written back.
      if (seed % 2 == 0) service.Stop();
    }
    submitted += service.promises().jobs_by_request().size();
    succeeded += service.promises().succeeded().size();
    cancelled += service.promises().cancelled().size();
  }
  std::cout << "power loss: seeds=" << seeds << " submitted=" << submitted << " succeeded=" << succeeded
            << " cancelled=" << cancelled << "\n";
  // A run in which little was promised proves little; twice as much is usual, and commits of several jobs vary it.
  EXPECT_GE(submitted, static_cast<size_t>(seeds));
  EXPECT_GE(succeeded, static_cast<size_t>(seeds) / 3);
  EXPECT_GE(cancelled, static_cast<size_t>(seeds) / 10);
}

}  // namespace
}  // namespace quantd
