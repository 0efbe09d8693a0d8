// Damage of each kind, done on purpose to a sound service, in each of the places that it can be kept in: found, named,
// and repaired as far as it can be.
#include "server/fsck/fsck.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/sha256.h"
#include "server/store/data_directory.h"
#include "server/store/open_job_store.h"
#include "server/store/sql_job_store.h"
#include "server/store/visit_database.h"
#include "tests/durability/fsck_place.h"
#include "tests/durability/simulated_service.h"
#include "tests/testing/postgres_server.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kCheckpointBytes[] = "boundary activations";

// A service with two results, a running job with a checkpoint, a cancelled and a queued one.
class FsckTest : public testing::Test {
 protected:
  explicit FsckTest(const PlaceKind& kind = PlaceKinds()[0]) : place_(kind) {}

  void SetUp() override {
    if (!place_.Obstacle().empty()) GTEST_SKIP() << place_.Obstacle();
    SimulatedService service;
    ASSERT_OK(service.Start());
    ASSERT_OK(service.SubmitNew());
    ASSERT_OK(service.SubmitNew());
    ASSERT_OK(service.WorkOnce("worker"));
    for (int i = 0; i < 3; ++i) ASSERT_OK(service.SubmitNew());
    ASSERT_EQ(service.promises().succeeded().size(), 2u);
    ASSERT_OK_AND_ASSIGN(const JobRecord result, service.store().Get(service.promises().succeeded()[0]));
    published_ = result.job.artifact().files(0).sha256();
    LeaseWithCheckpoint(service.store(), "j2");
    service.Stop();
    // Out of the disk's folder, which goes with it.
    std::filesystem::copy(service.disk().root(), directory_, std::filesystem::copy_options::recursive);
    place_.Adopt(directory_);
    place_.Write(CheckpointPath(), kCheckpointBytes);
  }

  void LeaseWithCheckpoint(JobStore& store, const std::string& id) {
    const auto mutate = [](JobRecord& record) {
      record.job.set_state(v1::QuantJob::RUNNING);
      record.job.set_worker("worker");
      record.job.set_attempt(1);
      record.fence = 1;
      record.incarnation = "only";
      record.lease_deadline = absl::FromUnixSeconds(2'000'000'000);
      record.checkpoint.emplace();
      v1::ArtifactFile& file = *record.checkpoint->add_files();
      file.set_path("state.bin");
      file.set_size_bytes(sizeof kCheckpointBytes - 1);
      file.set_sha256(Sha256Hex(kCheckpointBytes));
      return absl::OkStatus();
    };
    ASSERT_OK(store.Update(DurableStep::kClaim, id, mutate));
  }

  std::string Published() const { return place_.PublishedPath(published_); }
  static std::string CheckpointPath() { return absl::StrCat("checkpoints/j2/", Sha256Hex(kCheckpointBytes)); }
  void Overwrite(const std::string& path, size_t at, const std::string& bytes) {
    std::string all = place_.Read(path);
    ASSERT_LE(at + bytes.size(), all.size());
    place_.Write(path, all.replace(at, bytes.size(), bytes));
  }

  FsckReport Check(bool repair = false) {
    auto report = RunFsck(place_.config(), {.repair = repair, .threads = 2});
    EXPECT_OK(report);
    return report.ok() ? *report : FsckReport();
  }
  // What fsck has left in the audit log, the newest first.
  std::vector<std::string> RepairActions() {
    std::vector<std::string> actions;
    auto database = VisitDatabase(
        {.data_directory = place_.config().data_dir, .dsn = place_.config().store_dsn, .clock = RealClock()});
    EXPECT_OK(database);
    if (!database.ok()) return actions;
    const auto rows = NewSqlJobStore(*std::move(database))->Audit({.all_tenants = true});
    EXPECT_OK(rows);
    if (!rows.ok()) return actions;
    for (const AuditRow& row : *rows) {
      if (row.note.actor != "fsck") continue;
      const bool of_file = row.note.action == "quarantine";
      actions.push_back(of_file ? row.note.action : absl::StrCat(row.note.action, " ", row.note.detail));
    }
    return actions;
  }
  // Kinds found, each once.
  static std::vector<std::string> Kinds(const FsckReport& report) {
    std::vector<std::string> kinds;
    for (const FsckFinding& finding : report.findings) kinds.push_back(finding.kind);
    std::sort(kinds.begin(), kinds.end());
    kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
    return kinds;
  }

  const std::string directory_ = MakeTempDir() + "/data";
  FsckPlace place_;
  std::string published_;  // digest of a file of a result
};

// The same service, kept in each way.
class FsckPlaceTest : public FsckTest, public testing::WithParamInterface<PlaceKind> {
 protected:
  FsckPlaceTest() : FsckTest(GetParam()) {}
};

std::string NameOf(const testing::TestParamInfo<PlaceKind>& row) {
  return row.param.name;
}

TEST_P(FsckPlaceTest, SoundServiceIsSound) {
  const FsckReport report = Check();
  EXPECT_THAT(Kinds(report), testing::IsEmpty()) << FsckText(report);
  EXPECT_EQ(report.jobs, 5);
  EXPECT_EQ(report.files, 5) << "two of each result, one of the checkpoint";
  EXPECT_GT(report.bytes, 18'000);
  const std::string note = "note: the files of PostgreSQL itself were not looked at: pg_amcheck does that\n";
  EXPECT_EQ(FsckText(report),
            absl::StrCat(GetParam().postgres ? note : "", "5 jobs, 5 files with ", report.bytes, " bytes: sound\n"));
  const std::vector<std::string> paths = place_.Paths();
  EXPECT_THAT(Kinds(Check()), testing::IsEmpty()) << "looking changes nothing";
  EXPECT_THAT(Kinds(Check(/*repair=*/true)), testing::IsEmpty()) << "nor does a repair, with nothing to repair";
  EXPECT_EQ(place_.Paths(), paths);
}

INSTANTIATE_TEST_SUITE_P(EachPlace, FsckPlaceTest, testing::ValuesIn(PlaceKinds()), &NameOf);

struct Damage {
  const char* name;
  const char* kind;
  bool repairable;  // then nothing is left of it
  void (*inflict)(FsckPlace& place, const std::string& published);
};

std::string CheckpointFile() {
  return absl::StrCat("checkpoints/j2/", Sha256Hex(kCheckpointBytes));
}

void Change(FsckPlace& place, const std::string& path, size_t at, const std::string& bytes) {
  place.Write(path, place.Read(path).replace(at, bytes.size(), bytes));
}

const Damage kDamage[] = {
    {"RequestOfNoJob", "REFERENCE_BROKEN", false,
     [](FsckPlace& place, const std::string&) {
       place.Sql("INSERT INTO requests VALUES ('default', 'stray', 999, 1)");
     }},
    {"UnreadableSpec", "JOB_UNREADABLE", false,
     [](FsckPlace& place, const std::string&) {
       place.Sql("UPDATE jobs SET spec = X'FFFFFF' WHERE id = 'j1'",
                 "UPDATE jobs SET spec = '\\xFFFFFF'::bytea WHERE id = 'j1'");
     }},
    {"StateWithoutEvent", "JOB_INCONSISTENT", false,
     [](FsckPlace& place, const std::string&) {
       place.Sql("DELETE FROM events WHERE job = (SELECT sequence FROM jobs WHERE id = 'j3')");
     }},
    {"EventOfAnotherState", "JOB_INCONSISTENT", false,
     [](FsckPlace& place, const std::string&) {
       place.Sql("UPDATE events SET state = 7 WHERE job = (SELECT sequence FROM jobs WHERE id = 'j3')");
     }},
    {"FileListTooShort", "JOB_INCONSISTENT", false,
     [](FsckPlace& place, const std::string&) { place.Sql("DELETE FROM artifact_files WHERE kind = 1"); }},
    {"LeaseOfNobody", "JOB_INCONSISTENT", false,
     [](FsckPlace& place, const std::string&) { place.Sql("UPDATE jobs SET worker = '' WHERE id = 'j2'"); }},
    {"Tallies", "TALLIES_WRONG", true,
     [](FsckPlace& place, const std::string&) { place.Sql("UPDATE tallies SET jobs = jobs + 1"); }},
    {"TalliesGone", "TALLIES_WRONG", true,
     [](FsckPlace& place, const std::string&) { place.Sql("DELETE FROM tallies"); }},
    {"RevisionCounter", "REVISIONS_WRONG", true,
     [](FsckPlace& place, const std::string&) {
       place.Sql("UPDATE counters SET value = 1 WHERE name = 'revision'", "SELECT setval('revisions', 1)");
     }},
    {"ResultGone", "FILE_MISSING", false,
     [](FsckPlace& place, const std::string& published) { place.Erase(published); }},
    {"ResultCutOff", "FILE_DAMAGED", false,
     [](FsckPlace& place, const std::string& published) {
       place.Write(published, place.Read(published).substr(0, 17));
     }},
    {"ResultBitFlipped", "FILE_DAMAGED", false,
     [](FsckPlace& place, const std::string& published) { Change(place, published, 100, "X"); }},
    {"CheckpointGone", "CHECKPOINT_DAMAGED", true,
     [](FsckPlace& place, const std::string&) { place.Erase(CheckpointFile()); }},
    {"CheckpointTampered", "CHECKPOINT_DAMAGED", true,
     [](FsckPlace& place, const std::string&) { Change(place, CheckpointFile(), 0, "B"); }},
    {"OrphanFile", "ORPHAN_FILE", true,
     [](FsckPlace& place, const std::string&) {
       place.Write(place.PublishedPath(absl::StrCat("ab", std::string(62, '0'))), "orphan");
     }},
    {"OrphanCheckpoint", "ORPHAN_CHECKPOINT", true,
     [](FsckPlace& place, const std::string&) {
       place.Write(absl::StrCat("checkpoints/j0/", std::string(64, '0')), "orphan");
     }},
    {"StagingOfAnEndedAttempt", "STAGING_LEFTOVER", true,
     [](FsckPlace& place, const std::string&) { place.Write("staging/j0/1/model.safetensors/x.part", "leftover"); }},
};

class FsckDamageTest : public FsckTest, public testing::WithParamInterface<std::tuple<PlaceKind, Damage>> {
 protected:
  FsckDamageTest() : FsckTest(std::get<0>(GetParam())) {}
};

TEST_P(FsckDamageTest, IsFoundAndRepairedAsPromised) {
  const Damage& damage = std::get<1>(GetParam());
  damage.inflict(place_, Published());
  if (HasFatalFailure()) return;
  const FsckKind* kind = nullptr;
  for (const FsckKind& row : FsckKinds()) {
    if (std::string(row.name) == damage.kind) kind = &row;
  }
  ASSERT_NE(kind, nullptr);
  const FsckReport found = Check();
  EXPECT_THAT(Kinds(found), testing::Contains(damage.kind)) << FsckText(found);
  EXPECT_EQ(found.damage() > 0, kind->is_damage);
  EXPECT_THAT(FsckText(found),
              testing::HasSubstr(absl::StrCat(kind->is_damage ? "problem" : "leftover", ": ", damage.kind)));
  (void)Check(/*repair=*/true);
  const FsckReport after = Check();
  if (damage.repairable) {
    EXPECT_THAT(Kinds(after), testing::IsEmpty()) << FsckText(after);
  } else {
    EXPECT_GT(after.damage(), 0) << "a repair must not hide a loss";
  }
}

// On SQLite each; on PostgreSQL those of the database, and of checkpoints, which a repair writes to it; in an object
// store those of files.
std::vector<std::tuple<PlaceKind, Damage>> DamageCases() {
  std::vector<std::tuple<PlaceKind, Damage>> cases;
  for (const PlaceKind& place : PlaceKinds()) {
    for (const Damage& damage : kDamage) {
      const absl::string_view kind = damage.kind;
      const bool of_files = absl::StrContains(kind, "FILE_") || absl::StrContains(kind, "_FILE") ||
                            absl::StrContains(kind, "CHECKPOINT") || absl::StrContains(kind, "STAGING");
      const bool in_objects = place.files == FilesIn::kObjectStore && !place.postgres && of_files;
      const bool in_postgres = place.postgres && (!of_files || kind == "CHECKPOINT_DAMAGED");
      if (place.files == FilesIn::kDataDirectory || in_objects || in_postgres) cases.emplace_back(place, damage);
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(EachKind, FsckDamageTest, testing::ValuesIn(DamageCases()),
                         [](const testing::TestParamInfo<std::tuple<PlaceKind, Damage>>& row) {
                           return absl::StrCat(std::get<0>(row.param).name, std::get<1>(row.param).name);
                         });

TEST_F(FsckTest, DamagedPagesAreFound) {
  Overwrite("quantd.db", 8192, std::string(16'384, 'x'));
  EXPECT_THAT(Kinds(Check()), testing::ElementsAre("DATABASE_DAMAGED"));
  Overwrite("quantd.db", 0, std::string(100, 'x'));
  EXPECT_THAT(Kinds(Check(/*repair=*/true)), testing::ElementsAre("DATABASE_DAMAGED")) << "of the header";
}

TEST(FsckKindTable, EveryKindIsTested) {
  for (const FsckKind& kind : FsckKinds()) {
    if (std::string(kind.name) == "DATABASE_DAMAGED") continue;  // above, of SQLite alone
    EXPECT_TRUE(std::any_of(std::begin(kDamage), std::end(kDamage), [&](const Damage& damage) {
      return std::string(damage.kind) == kind.name;
    })) << kind.name;
  }
}

TEST(FsckKindTable, IsInTheDocumentation) {
  ASSERT_OK_AND_ASSIGN(const std::string text, RealFileSystem().ReadFile(SourcePath("docs/operations.md"), 1 << 20));
  for (const FsckKind& kind : FsckKinds()) {
    EXPECT_THAT(text, testing::HasSubstr(absl::StrCat("| `", kind.name, "` | ", kind.meaning, " | ")));
  }
}

TEST_P(FsckPlaceTest, LiveStagingIsLeftAlone) {
  place_.Write("staging/j2/1/model.safetensors/x.part", "being received");
  EXPECT_THAT(Kinds(Check(/*repair=*/true)), testing::IsEmpty());
  EXPECT_EQ(place_.Read("staging/j2/1/model.safetensors/x.part"), "being received");
}

TEST_P(FsckPlaceTest, DamagedFilesAreKeptInQuarantine) {
  Overwrite(Published(), 100, "X");
  const FsckReport report = Check(/*repair=*/true);
  EXPECT_EQ(report.damage(), 1);
  EXPECT_THAT(place_.Paths(),
              testing::Contains(testing::AllOf(testing::StartsWith("quarantine/"), testing::HasSubstr(published_))));
  EXPECT_THAT(Kinds(Check()), testing::ElementsAre("FILE_MISSING"));
  EXPECT_THAT(RepairActions(), testing::ElementsAre("quarantine"));
}

TEST_P(FsckPlaceTest, RepairsAreRecorded) {
  place_.Sql("DELETE FROM tallies");
  place_.Erase(CheckpointPath());
  (void)Check(/*repair=*/true);
  EXPECT_THAT(RepairActions(), testing::ElementsAre("repair CHECKPOINT_DAMAGED", "repair TALLIES_WRONG"));
}

TEST_P(FsckPlaceTest, QuickLooksAtSizesOnly) {
  Overwrite(Published(), 100, "X");
  ASSERT_OK_AND_ASSIGN(const FsckReport flipped, RunFsck(place_.config(), {.digests = false}));
  EXPECT_THAT(Kinds(flipped), testing::IsEmpty());
  EXPECT_THAT(FsckText(flipped), testing::HasSubstr("note: presence and size of the files only"));
  place_.Write(Published(), "short");
  ASSERT_OK_AND_ASSIGN(const FsckReport cut, RunFsck(place_.config(), {.digests = false}));
  EXPECT_THAT(Kinds(cut), testing::ElementsAre("FILE_DAMAGED"));
}

TEST_F(FsckTest, JsonSaysTheSame) {
  place_.Erase(Published());
  ASSERT_OK_AND_ASSIGN(const FsckReport report, RunFsck(place_.config(), {.digests = false}));
  ASSERT_OK_AND_ASSIGN(const Json json, ParseJson(FsckJson(report), "fsck"));
  EXPECT_EQ(json["jobs"], 5);
  EXPECT_EQ(json["problems"], 1);
  EXPECT_EQ(json["findings"][0]["kind"], "FILE_MISSING");
  EXPECT_EQ(json["findings"][0]["subject"], Published());
  EXPECT_EQ(json["findings"][0]["repaired"], false);
  EXPECT_EQ(json["notes"].size(), 1u);
}

TEST_F(FsckTest, ProgressEndsAtTheWhole) {
  std::vector<std::pair<int64_t, int64_t>> steps;
  const auto note = [&](int64_t done, int64_t total) { steps.emplace_back(done, total); };
  ASSERT_OK(RunFsck(place_.config(), {.threads = 3, .progress = note}));
  ASSERT_EQ(steps.size(), 5u);
  EXPECT_EQ(steps.back().first, steps.back().second);
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
}

TEST_F(FsckTest, DirectoriesThatItMustNotTouchAreRefused) {
  ServerConfig empty;
  empty.data_dir = MakeTempDir();
  EXPECT_THAT(RunFsck(empty, {}), FailsWith("DATABASE_MISSING", "--data-dir"));
  {
    ASSERT_OK_AND_ASSIGN(const DataDirectory server, DataDirectory::Open(directory_));
    EXPECT_THAT(RunFsck(place_.config(), {}), FailsWith("DATA_DIRECTORY_LOCKED", "stop it"));
  }
  place_.Sql("PRAGMA user_version = 99");
  EXPECT_THAT(RunFsck(place_.config(), {}), FailsWith("DATA_DIRECTORY_TOO_NEW", "schema 99"));
  place_.Sql("PRAGMA user_version = 1");
  EXPECT_THAT(RunFsck(place_.config(), {}), FailsWith("DATA_DIRECTORY_OLD", "start quantd"));
  place_.Sql("PRAGMA application_id = 5");
  EXPECT_THAT(RunFsck(place_.config(), {}), FailsWith("STORE_OF_ANOTHER_APPLICATION", "quantd.db"));
}

class FsckObjectsTest : public FsckTest {
 protected:
  FsckObjectsTest() : FsckTest(PlaceKinds()[2]) {}
};

TEST_F(FsckObjectsTest, StoreThatDoesNotAnswerCondemnsNothing) {
  place_.objects().SetFault([](const ScriptedRequest&) { return S3Error(403, "AccessDenied"); });
  EXPECT_THAT(RunFsck(place_.config(), {.repair = true}), FailsWith("OBJECT_STORE_DENIED", "403"));
  place_.objects().SetFault({});
  EXPECT_THAT(Kinds(Check()), testing::IsEmpty());
}

// On PostgreSQL, beside a server.
class FsckBesideServersTest : public FsckTest {
 protected:
  FsckBesideServersTest() : FsckTest({"Beside", true, FilesIn::kSharedFolder}) {}

  std::unique_ptr<JobStore> StartServer() {
    auto store = OpenJobStore({.dsn = place_.config().store_dsn, .clock = RealClock()});
    EXPECT_OK(store);
    return store.ok() ? *std::move(store) : nullptr;
  }
};

TEST_F(FsckBesideServersTest, SaysWhatItLeavesOut) {
  const std::unique_ptr<JobStore> server = StartServer();
  place_.Write("staging/j0/1/model.safetensors/x.part", "begun since");
  place_.Write(absl::StrCat("checkpoints/j0/", std::string(64, '0')), "not recorded yet");
  place_.Write(place_.PublishedPath(absl::StrCat("ab", std::string(62, '0'))), "not recorded yet", absl::Minutes(9));
  const FsckReport report = Check();
  EXPECT_THAT(Kinds(report), testing::IsEmpty()) << FsckText(report);
  EXPECT_THAT(FsckText(report), testing::HasSubstr("note: servers are at work"));
  place_.Write(place_.PublishedPath(absl::StrCat("ab", std::string(62, '1'))), "old", absl::Minutes(11));
  EXPECT_THAT(Kinds(Check()), testing::ElementsAre("ORPHAN_FILE"));
}

TEST_F(FsckBesideServersTest, DamageIsFoundAllTheSame) {
  const std::unique_ptr<JobStore> server = StartServer();
  Overwrite(Published(), 100, "X");
  Overwrite(CheckpointPath(), 0, "B");
  place_.Sql("DELETE FROM tallies");
  EXPECT_THAT(Kinds(Check()), testing::ElementsAre("CHECKPOINT_DAMAGED", "FILE_DAMAGED", "TALLIES_WRONG"));
}

TEST_F(FsckBesideServersTest, WhatServersLetGoMeanwhileIsNotMissed) {
  const std::unique_ptr<JobStore> server = StartServer();
  // The files of checkpoints are the last.
  const auto drop = [&](int64_t done, int64_t total) {
    if (done == total || place_.Read(CheckpointPath()).empty()) return;
    place_.Sql("DELETE FROM artifact_files WHERE kind = 1");
    place_.Write(CheckpointPath(), "");
  };
  ASSERT_OK_AND_ASSIGN(const FsckReport report, RunFsck(place_.config(), {.progress = drop}));
  EXPECT_THAT(Kinds(report), testing::IsEmpty()) << FsckText(report);
}

TEST_F(FsckBesideServersTest, RepairWantsToBeAlone) {
  std::unique_ptr<JobStore> server = StartServer();
  EXPECT_THAT(RunFsck(place_.config(), {.repair = true}), FailsWith("STORE_IN_USE", "stop all of them"));
  server.reset();
  std::vector<std::string> refusals;
  const auto start = [&](int64_t, int64_t) {
    const auto other = OpenJobStore({.dsn = place_.config().store_dsn, .clock = RealClock()});
    refusals.push_back(ReasonOf(other.status()));
  };
  ASSERT_OK(RunFsck(place_.config(), {.repair = true, .progress = start}));
  EXPECT_THAT(refusals, testing::AllOf(testing::SizeIs(5), testing::Each("STORE_IN_REPAIR")));
  EXPECT_NE(StartServer(), nullptr);
}

TEST_F(FsckBesideServersTest, DatabasesOfOthersAreNotTouched) {
  ServerConfig config = place_.config();
  config.store_dsn = PostgresServer::Shared()->NewDatabase();
  EXPECT_THAT(RunFsck(config, {}), FailsWith("DATABASE_MISSING", "--store-dsn"));
  place_.Sql("UPDATE quantd_schema SET version = 99");
  EXPECT_THAT(RunFsck(place_.config(), {}), FailsWith("STORE_TOO_NEW", "schema 99"));
}

}  // namespace
}  // namespace quantd
