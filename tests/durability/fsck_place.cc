#include "tests/durability/fsck_place.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/file_system.h"
#include "server/store/copy_store.h"
#include "server/store/open_job_store.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_database.h"
#include "tests/testing/postgres_server.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

namespace fs = std::filesystem;

void CopyToPostgres(const std::string& directory, const std::string& dsn) {
  const auto sqlite = OpenSqliteDatabase({.path = JoinPath(directory, "quantd.db"), .clock = RealClock()});
  ASSERT_OK(sqlite);
  const auto postgres = OpenPostgresDatabase({.dsn = dsn, .clock = RealClock()});
  ASSERT_OK(postgres);
  ASSERT_OK(CopyStore(**sqlite, **postgres));
}

// Of files below `folder`, relative to it.
std::vector<std::string> FilesBelow(const std::string& folder) {
  std::vector<std::string> paths;
  if (!fs::exists(folder)) return paths;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) paths.push_back(fs::relative(entry.path(), folder).string());
  }
  return paths;
}

std::string ReadAll(const std::string& path) {
  const auto bytes = RealFileSystem().ReadFile(path, 1 << 30);
  EXPECT_OK(bytes);
  return bytes.ok() ? *bytes : "";
}

}  // namespace

const std::vector<PlaceKind>& PlaceKinds() {
  static const std::vector<PlaceKind> kinds = {
      {"Sqlite", false, FilesIn::kDataDirectory},
      {"SqliteWithSharedFolder", false, FilesIn::kSharedFolder},
      {"SqliteWithObjects", false, FilesIn::kObjectStore},
      {"PostgresWithObjects", true, FilesIn::kObjectStore},
  };
  return kinds;
}

std::string FsckPlace::Obstacle() const {
  return kind_.postgres && PostgresServer::Shared() == nullptr ? PostgresServer::kAbsent : "";
}

void FsckPlace::Adopt(const std::string& directory) {
  config_.data_dir = directory;
  if (kind_.postgres) {
    config_.store_dsn = PostgresServer::Shared()->NewDatabase();
    CopyToPostgres(directory, config_.store_dsn);
    fs::remove(JoinPath(directory, "quantd.db"));
  }
  folder_ = directory;
  if (kind_.files != FilesIn::kDataDirectory) MoveFiles(directory);
}

void FsckPlace::MoveFiles(const std::string& directory) {
  if (kind_.files == FilesIn::kSharedFolder) {
    folder_ = MakeTempDir();
    config_.artifact_store = folder_;
  } else {
    folder_.clear();
    objects_ = std::make_unique<MemoryS3>();
    config_.artifact_store = "s3://artifacts/prod";
    config_.s3_endpoint = objects_->url();
    config_.s3_path_style = true;
    config_.s3_credentials_file = JoinPath(directory, "credentials");
    ASSERT_OK(WriteFileDurably(RealFileSystem(), config_.s3_credentials_file,
                               "aws_access_key_id=a\naws_secret_access_key=b\n"));
  }
  for (const std::string area : {"artifacts/sha256", "checkpoints", "staging"}) {
    const bool renamed = objects_ != nullptr && area == "artifacts/sha256";
    for (const std::string& path : FilesBelow(JoinPath(directory, area))) {
      Write(JoinPath(renamed ? "sha256" : area, path), ReadAll(JoinPath(JoinPath(directory, area), path)));
    }
    fs::remove_all(JoinPath(directory, area));
  }
}

std::string FsckPlace::PublishedPath(const std::string& sha256) const {
  return absl::StrCat(objects_ == nullptr ? "artifacts/" : "", "sha256/", sha256.substr(0, 2), "/", sha256);
}

std::vector<std::string> FsckPlace::Paths() const {
  if (objects_ == nullptr) return FilesBelow(folder_);
  std::vector<std::string> paths;
  for (const std::string& path : objects_->Paths()) paths.push_back(path.substr(Key("").size()));
  return paths;
}

std::string FsckPlace::Read(const std::string& path) const {
  return objects_ == nullptr ? ReadAll(JoinPath(folder_, path)) : objects_->Get(Key(path)).value_or("");
}

void FsckPlace::Write(const std::string& path, const std::string& bytes, absl::Duration age) {
  if (objects_ != nullptr) return objects_->Put(Key(path), bytes, absl::Now() - age);
  const std::string full = JoinPath(folder_, path);
  ASSERT_OK(RealFileSystem().CreateDirectories(DirectoryName(full)));
  ASSERT_OK(WriteFileDurably(RealFileSystem(), full, bytes));
  fs::last_write_time(full, fs::file_time_type::clock::now() - absl::ToChronoSeconds(age));
}

void FsckPlace::Erase(const std::string& path) {
  if (objects_ != nullptr) return objects_->Erase(Key(path));
  fs::remove(JoinPath(folder_, path));
}

void FsckPlace::Sql(const std::string& sqlite, const std::string& postgres) {
  if (kind_.postgres) {
    const size_t begin = config_.store_dsn.find("dbname=") + 7;
    const std::string database = config_.store_dsn.substr(begin, config_.store_dsn.find(' ', begin) - begin);
    // Without the triggers that guard references.
    (void)PostgresServer::Shared()->Psql(database, absl::StrCat("SET session_replication_role = replica; ", postgres));
    return;
  }
  const std::string path = JoinPath(config_.data_dir, "quantd.db");
  ASSERT_OK_AND_ASSIGN(const auto connection, SqliteConnection::Open(path, /*read_only=*/false));
  ASSERT_OK(connection->Execute(absl::StrCat("PRAGMA ignore_check_constraints = ON;", sqlite)));
}

}  // namespace quantd
