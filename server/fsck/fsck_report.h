// What `quantd fsck` found.
#ifndef QUANTD_SERVER_FSCK_FSCK_REPORT_H_
#define QUANTD_SERVER_FSCK_FSCK_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

// Every kind of finding: docs/operations.md has the same table.
struct FsckKind {
  const char* name;
  // Damage means that something promised is not there. The rest is what a crash may leave behind: harmless, and removed
  // by --repair or by the running server.
  bool is_damage;
  const char* meaning;
  const char* repair;  // what --repair does; "": nothing
};
absl::Span<const FsckKind> FsckKinds();

struct FsckFinding {
  std::string kind;
  std::string subject;  // a job, a table, or a path below the folder or prefix of the artifacts
  std::string detail;
  bool repaired = false;
};

struct FsckReport {
  int64_t jobs = 0;
  int64_t files = 0;  // referenced ones, checked
  int64_t bytes = 0;
  std::vector<FsckFinding> findings;
  std::vector<std::string> notes;  // what was not looked at

  FsckFinding& Add(absl::string_view kind, absl::string_view subject, absl::string_view detail);
  // Findings of damage that is still there.
  int64_t damage() const;
};

std::string FsckText(const FsckReport& report);
std::string FsckJson(const FsckReport& report);

}  // namespace quantd

#endif  // QUANTD_SERVER_FSCK_FSCK_REPORT_H_
