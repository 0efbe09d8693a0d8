// Damage of each kind, done on purpose to a sound data directory: found, named, and repaired as far as it can be.
#include "server/fsck/fsck.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "core/base/sha256.h"
#include "server/store/data_directory.h"
#include "server/store/sqlite_connection.h"
#include "tests/durability/simulated_service.h"
#include "tests/testing/status_matchers.h"

namespace quantd {
namespace {

constexpr char kCheckpointBytes[] = "boundary activations";

// A directory with two results, a running job with a checkpoint, a cancelled and a queued one.
class FsckTest : public testing::Test {
 protected:
  void SetUp() override {
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
    ASSERT_OK(WriteFileDurably(RealFileSystem(), CheckpointPath("j2"), kCheckpointBytes));
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

  std::string Path(absl::string_view name) const { return JoinPath(directory_, name); }
  std::string Published() const { return absl::StrCat("artifacts/sha256/", published_.substr(0, 2), "/", published_); }
  std::string CheckpointPath(const std::string& job) {
    const std::string folder = Path(absl::StrCat("checkpoints/", job));
    EXPECT_OK(RealFileSystem().CreateDirectories(folder));
    return JoinPath(folder, Sha256Hex(kCheckpointBytes));
  }
  void Write(absl::string_view name, const std::string& bytes) {
    ASSERT_OK(RealFileSystem().CreateDirectories(DirectoryName(Path(name))));
    ASSERT_OK(WriteFileDurably(RealFileSystem(), Path(name), bytes));
  }
  void Sql(const std::string& statements) {
    ASSERT_OK_AND_ASSIGN(const auto connection, SqliteConnection::Open(Path("quantd.db"), /*read_only=*/false));
    ASSERT_OK(connection->Execute(absl::StrCat("PRAGMA ignore_check_constraints = ON;", statements)));
  }

  FsckReport Check(bool repair = false) {
    auto report = RunFsck({.data_directory = directory_, .repair = repair, .threads = 2});
    EXPECT_OK(report);
    return report.ok() ? *report : FsckReport();
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
  std::string published_;  // digest of a file of a result
};

TEST_F(FsckTest, SoundDirectoryIsSound) {
  const FsckReport report = Check();
  EXPECT_THAT(Kinds(report), testing::IsEmpty()) << FsckText(report);
  EXPECT_EQ(report.jobs, 5);
  EXPECT_EQ(report.files, 5) << "two of each result, one of the checkpoint";
  EXPECT_GT(report.bytes, 18'000);
  EXPECT_EQ(FsckText(report), absl::StrCat("5 jobs, 5 files with ", report.bytes, " bytes: sound\n"));
  EXPECT_THAT(Kinds(Check()), testing::IsEmpty()) << "looking changes nothing";
}

struct Damage {
  const char* name;
  const char* kind;
  bool repairable;  // then nothing is left of it
  void (*inflict)(FsckTest& test);
};

class FsckDamageTest : public FsckTest, public testing::WithParamInterface<Damage> {
 public:
  using FsckTest::CheckpointPath;
  using FsckTest::Path;
  using FsckTest::Published;
  using FsckTest::Sql;
  using FsckTest::Write;
};

FsckDamageTest& Open(FsckTest& test) {
  return static_cast<FsckDamageTest&>(test);
}

void Overwrite(const std::string& path, std::streamoff at, const std::string& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(at).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

const Damage kDamage[] = {
    {"DatabasePages", "DATABASE_DAMAGED", false,
     [](FsckTest& test) { Overwrite(Open(test).Path("quantd.db"), 8192, std::string(16'384, 'x')); }},
    {"DatabaseHeader", "DATABASE_DAMAGED", false,
     [](FsckTest& test) { Overwrite(Open(test).Path("quantd.db"), 0, std::string(100, 'x')); }},
    {"RequestOfNoJob", "REFERENCE_BROKEN", false,
     [](FsckTest& test) { Open(test).Sql("INSERT INTO requests VALUES ('default', 'stray', 999, 1)"); }},
    {"UnreadableSpec", "JOB_UNREADABLE", false,
     [](FsckTest& test) { Open(test).Sql("UPDATE jobs SET spec = X'FFFFFF' WHERE id = 'j1'"); }},
    {"StateWithoutEvent", "JOB_INCONSISTENT", false,
     [](FsckTest& test) {
       Open(test).Sql("DELETE FROM events WHERE job = (SELECT sequence FROM jobs WHERE id = 'j3')");
     }},
    {"EventOfAnotherState", "JOB_INCONSISTENT", false,
     [](FsckTest& test) {
       Open(test).Sql("UPDATE events SET state = 7 WHERE job = (SELECT sequence FROM jobs WHERE id = 'j3')");
     }},
    {"FileListTooShort", "JOB_INCONSISTENT", false,
     [](FsckTest& test) { Open(test).Sql("DELETE FROM artifact_files WHERE kind = 1"); }},
    {"LeaseOfNobody", "JOB_INCONSISTENT", false,
     [](FsckTest& test) { Open(test).Sql("UPDATE jobs SET worker = '' WHERE id = 'j2'"); }},
    {"Tallies", "TALLIES_WRONG", true, [](FsckTest& test) { Open(test).Sql("UPDATE tallies SET jobs = jobs + 1"); }},
    {"TalliesGone", "TALLIES_WRONG", true, [](FsckTest& test) { Open(test).Sql("DELETE FROM tallies"); }},
    {"RevisionCounter", "REVISIONS_WRONG", true,
     [](FsckTest& test) { Open(test).Sql("UPDATE counters SET value = 1 WHERE name = 'revision'"); }},
    {"ResultGone", "FILE_MISSING", false,
     [](FsckTest& test) { std::filesystem::remove(Open(test).Path(Open(test).Published())); }},
    {"ResultCutOff", "FILE_DAMAGED", false,
     [](FsckTest& test) { std::filesystem::resize_file(Open(test).Path(Open(test).Published()), 17); }},
    {"ResultBitFlipped", "FILE_DAMAGED", false,
     [](FsckTest& test) { Overwrite(Open(test).Path(Open(test).Published()), 100, "X"); }},
    {"CheckpointGone", "CHECKPOINT_DAMAGED", true,
     [](FsckTest& test) { std::filesystem::remove(Open(test).CheckpointPath("j2")); }},
    {"CheckpointTampered", "CHECKPOINT_DAMAGED", true,
     [](FsckTest& test) { Overwrite(Open(test).CheckpointPath("j2"), 0, "B"); }},
    {"OrphanFile", "ORPHAN_FILE", true,
     [](FsckTest& test) { Open(test).Write(absl::StrCat("artifacts/sha256/ab/ab", std::string(62, '0')), "orphan"); }},
    {"OrphanCheckpoint", "ORPHAN_CHECKPOINT", true,
     [](FsckTest& test) { Open(test).Write(absl::StrCat("checkpoints/j0/", std::string(64, '0')), "orphan"); }},
    {"StagingOfAnEndedAttempt", "STAGING_LEFTOVER", true,
     [](FsckTest& test) { Open(test).Write("staging/j0/1/model.safetensors/x.part", "leftover"); }},
};

TEST_P(FsckDamageTest, IsFoundAndRepairedAsPromised) {
  const Damage& damage = GetParam();
  damage.inflict(*this);
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

INSTANTIATE_TEST_SUITE_P(EachKind, FsckDamageTest, testing::ValuesIn(kDamage),
                         [](const testing::TestParamInfo<Damage>& row) { return row.param.name; });

TEST(FsckKindTable, EveryKindIsTested) {
  for (const FsckKind& kind : FsckKinds()) {
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

TEST_F(FsckTest, LiveStagingIsLeftAlone) {
  Write("staging/j2/1/model.safetensors/x.part", "being received");
  EXPECT_THAT(Kinds(Check(/*repair=*/true)), testing::IsEmpty());
  EXPECT_TRUE(RealFileSystem().Exists(Path("staging/j2/1/model.safetensors/x.part")));
}

TEST_F(FsckTest, DamagedFilesAreKeptInQuarantine) {
  Overwrite(Path(Published()), 100, "X");
  const FsckReport report = Check(/*repair=*/true);
  EXPECT_EQ(report.damage(), 1);
  ASSERT_OK_AND_ASSIGN(const auto names, RealFileSystem().ListDirectory(Path("quarantine")));
  EXPECT_THAT(names, testing::ElementsAre(testing::HasSubstr(published_)));
  EXPECT_THAT(Kinds(Check()), testing::ElementsAre("FILE_MISSING"));
}

TEST_F(FsckTest, JsonSaysTheSame) {
  std::filesystem::remove(Path(Published()));
  ASSERT_OK_AND_ASSIGN(const Json json, ParseJson(FsckJson(Check()), "fsck"));
  EXPECT_EQ(json["jobs"], 5);
  EXPECT_EQ(json["problems"], 1);
  EXPECT_EQ(json["findings"][0]["kind"], "FILE_MISSING");
  EXPECT_EQ(json["findings"][0]["subject"], Published());
  EXPECT_EQ(json["findings"][0]["repaired"], false);
}

TEST_F(FsckTest, ProgressEndsAtTheWhole) {
  std::vector<std::pair<int64_t, int64_t>> steps;
  const auto note = [&](int64_t done, int64_t total) { steps.emplace_back(done, total); };
  ASSERT_OK(RunFsck({.data_directory = directory_, .threads = 3, .progress = note}));
  ASSERT_EQ(steps.size(), 5u);
  EXPECT_EQ(steps.back().first, steps.back().second);
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
}

TEST_F(FsckTest, DirectoriesThatItMustNotTouchAreRefused) {
  EXPECT_THAT(RunFsck({.data_directory = MakeTempDir()}), FailsWith("DATABASE_MISSING", "--data-dir"));
  {
    ASSERT_OK_AND_ASSIGN(const DataDirectory server, DataDirectory::Open(directory_));
    EXPECT_THAT(RunFsck({.data_directory = directory_}), FailsWith("DATA_DIRECTORY_LOCKED", "stop it"));
  }
  Sql("PRAGMA user_version = 99");
  EXPECT_THAT(RunFsck({.data_directory = directory_}), FailsWith("DATA_DIRECTORY_TOO_NEW", "schema 99"));
  Sql("PRAGMA user_version = 1");
  EXPECT_THAT(RunFsck({.data_directory = directory_}), FailsWith("DATA_DIRECTORY_OLD", "start quantd"));
  Sql("PRAGMA application_id = 5");
  EXPECT_THAT(RunFsck({.data_directory = directory_}), FailsWith("STORE_OF_ANOTHER_APPLICATION", "quantd.db"));
}

}  // namespace
}  // namespace quantd
