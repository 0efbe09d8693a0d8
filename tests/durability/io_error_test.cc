// The disk refuses one operation, each in turn: the call fails with a reason that says what to do, nothing that was
// acknowledged is lost or half-done, and the service works again after a restart on a disk that works.
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "tests/durability/simulated_service.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr int64_t kMoreThanAnyOperation = 2000;

struct Fault {
  const char* name;
  DiskOperation operation;
  int error_number;
  bool short_write;
  bool for_good;
};
constexpr Fault kFaults[] = {
    {"WriteFails", DiskOperation::kWrite, EIO, false, false},
    {"WriteIsShort", DiskOperation::kWrite, EIO, true, false},
    {"DiskIsFull", DiskOperation::kWrite, ENOSPC, false, true},
    {"DiskIsFullHalfWay", DiskOperation::kWrite, ENOSPC, true, true},
    {"SyncFails", DiskOperation::kSync, EIO, false, false},
    {"SyncFailsFromNowOn", DiskOperation::kSync, EIO, false, true},
    {"SyncFindsDiskFull", DiskOperation::kSync, ENOSPC, false, false},
    {"FolderSyncFails", DiskOperation::kSyncDirectory, EIO, false, false},
    {"RenameFails", DiskOperation::kRename, EIO, false, false},
    {"CloseFails", DiskOperation::kClose, EIO, false, false},
    {"CreatingFails", DiskOperation::kCreate, EIO, false, false},
    {"CreatingFindsDiskFull", DiskOperation::kCreate, ENOSPC, false, true},
    {"RemovalFails", DiskOperation::kRemove, EIO, false, false},
};

// Reasons that a client may meet, and what it does about them.
bool IsExpected(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  return reason == "DISK_FULL" || reason == "IO_ERROR" || reason == "STORE_FAILED";
}

class IoErrorTest : public testing::TestWithParam<Fault> {
 protected:
  // A short life of the service; the errors it met.
  static std::vector<absl::Status> Live(SimulatedService& service) {
    std::mt19937_64 random(1);
    std::vector<absl::Status> errors;
    const auto note = [&](const absl::Status& status) {
      if (!status.ok()) errors.push_back(status);
      return status.ok();
    };
    if (!service.running() && !note(service.Start())) return errors;
    note(service.SubmitNew());
    note(service.SubmitNew());
    note(service.WorkOnce("worker"));
    note(service.SubmitNew());
    note(service.CancelSome(random));
    note(service.WorkOnce("worker"));
    return errors;
  }

  // Operations of this kind until the service is up.
  static int64_t StartOperations(DiskOperation operation) {
    SimulatedService service;
    service.disk().SetFault({.only = {operation}});
    EXPECT_OK(service.Start());
    return service.disk().operations();
  }

  // False: the fault came too late for the short life.
  static bool Strike(const DiskFault& fault) {
    SimulatedService service;
    service.disk().SetFault(fault);
    for (const absl::Status& error : Live(service)) EXPECT_TRUE(IsExpected(error)) << error;
    if (!service.disk().failed()) return false;
    const bool store_sync =
        fault.only[0] == DiskOperation::kSync && absl::StrContains(service.disk().failed_path(), ".db");
    service.disk().Heal();
    if (service.running()) CheckRefusal(service, store_sync);
    service.Stop();
    service.disk().LosePower(static_cast<uint64_t>(fault.at));
    EXPECT_OK(service.Start());
    if (!service.running()) return true;
    service.ExpectPromisesKept();
    EXPECT_THAT(Live(service), testing::IsEmpty()) << "the service works again";
    EXPECT_GE(service.promises().succeeded().size(), 1u);
    return true;
  }

  // A log whose sync failed cannot be trusted, although the disk works again.
  static void CheckRefusal(SimulatedService& service, bool store_sync) {
    EXPECT_FALSE(store_sync && service.store().writable());
    if (service.store().writable()) {
      EXPECT_OK(service.SubmitNew());
    } else {
      EXPECT_THAT(service.SubmitNew(), FailsWith("STORE_FAILED", "restart quantd"));
      EXPECT_OK(service.store().List({.limit = 10})) << "reads go on";
    }
  }
};

TEST_P(IoErrorTest, NothingAcknowledgedIsLostAndTheCallSaysWhy) {
  const Fault& row = GetParam();
  const int64_t start = StartOperations(row.operation);
  // The pages of the new tables are written alike.
  const int64_t start_stride = start > 50 ? 10 : 1;
  int64_t at = 0;
  for (bool struck = true; struck && at < kMoreThanAnyOperation; at += at < start ? start_stride : 1) {
    SCOPED_TRACE(absl::StrCat(row.name, " at ", at));
    struck = Strike({.at = at,
                     .error_number = row.error_number,
                     .short_write = row.short_write,
                     .for_good = row.for_good,
                     .only = {row.operation}});
    if (HasFailure()) return;
  }
  std::cout << row.name << ": " << at - 1 << " operations, " << start << " of them until the service is up\n";
  EXPECT_GT(at, start + 1) << "the service never does this";
}

INSTANTIATE_TEST_SUITE_P(EachOperation, IoErrorTest, testing::ValuesIn(kFaults),
                         [](const testing::TestParamInfo<Fault>& row) { return row.param.name; });

}  // namespace
}  // namespace quantd
