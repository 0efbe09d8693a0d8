#include "server/fsck/fsck_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/json.h"

namespace quantd {
namespace {

constexpr FsckKind kKinds[] = {
    {"DATABASE_DAMAGED", true, "SQLite finds the file itself damaged; nothing else is looked at then", ""},
    {"REFERENCE_BROKEN", true, "a row names a job that is not there", ""},
    {"JOB_UNREADABLE", true, "a stored message of a job cannot be parsed", ""},
    {"JOB_INCONSISTENT", true, "a job contradicts its state, its events or its list of files", ""},
    {"TALLIES_WRONG", true, "the counts by state differ from the jobs", "counts anew"},
    {"REVISIONS_WRONG", true, "the counter is behind a revision that was given out", "sets the counter"},
    {"FILE_MISSING", true, "a file of a result is not there", ""},
    {"FILE_DAMAGED", true, "a file of a result has another size or digest", "moves it to quarantine/"},
    {"CHECKPOINT_DAMAGED", true, "a checkpoint lacks a file, or one has another size or digest",
     "forgets the checkpoint: the job begins anew"},
    {"ORPHAN_FILE", false, "a published file that no job names", "removes it"},
    {"ORPHAN_CHECKPOINT", false, "a checkpoint file that no job names", "removes it"},
    {"STAGING_LEFTOVER", false, "uploads of an attempt that is over", "removes them"},
};

const FsckKind& KindNamed(absl::string_view name) {
  return *std::find_if(std::begin(kKinds), std::end(kKinds), [&](const FsckKind& kind) { return kind.name == name; });
}

std::string Summary(const FsckReport& report) {
  return absl::StrFormat("%d jobs, %d files with %d bytes: %s", report.jobs, report.files, report.bytes,
                         report.damage() == 0 ? std::string("sound") : absl::StrCat(report.damage(), " problems"));
}

}  // namespace

absl::Span<const FsckKind> FsckKinds() {
  return kKinds;
}

FsckFinding& FsckReport::Add(absl::string_view kind, absl::string_view subject, absl::string_view detail) {
  findings.push_back({std::string(kind), std::string(subject), std::string(detail)});
  return findings.back();
}

int64_t FsckReport::damage() const {
  return std::count_if(findings.begin(), findings.end(), [](const FsckFinding& finding) {
    return KindNamed(finding.kind).is_damage && !finding.repaired;
  });
}

std::string FsckText(const FsckReport& report) {
  std::string text;
  for (const FsckFinding& finding : report.findings) {
    const char* what = finding.repaired ? "repaired" : KindNamed(finding.kind).is_damage ? "problem" : "leftover";
    absl::StrAppend(&text, what, ": ", finding.kind, " ", finding.subject, ": ", finding.detail, "\n");
  }
  for (const std::string& note : report.notes) absl::StrAppend(&text, "note: ", note, "\n");
  return absl::StrCat(text, Summary(report), "\n");
}

std::string FsckJson(const FsckReport& report) {
  Json findings = Json::array();
  for (const FsckFinding& finding : report.findings) {
    findings.push_back({{"kind", finding.kind},
                        {"damage", KindNamed(finding.kind).is_damage},
                        {"subject", finding.subject},
                        {"detail", finding.detail},
                        {"repaired", finding.repaired}});
  }
  return JsonText({{"jobs", report.jobs},
                   {"files", report.files},
                   {"bytes", report.bytes},
                   {"problems", report.damage()},
                   {"findings", std::move(findings)},
                   {"notes", report.notes}});
}

}  // namespace quantd
