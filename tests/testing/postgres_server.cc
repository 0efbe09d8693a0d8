#include "tests/testing/postgres_server.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "core/base/file_system.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr char kPrograms[] = "/usr/lib/postgresql/15/bin";
constexpr char kRole[] = "quantd_test";
constexpr absl::Duration kPatience = absl::Seconds(60);

std::string Program(const std::string& name) {
  return JoinPath(kPrograms, name);
}

[[noreturn]] void Give(const std::string& what) {
  std::fprintf(stderr, "PostgreSQL for tests: %s\n", what.c_str());
  std::abort();
}

// PostgreSQL refuses to run as root.
const passwd* Unprivileged() {
  if (getuid() != 0) return nullptr;
  const passwd* user = getpwnam("postgres");
  return user != nullptr ? user : getpwnam("nobody");
}

void Exec(const std::vector<std::string>& command, const std::string& log) {
  if (const passwd* user = Unprivileged(); user != nullptr) {
    if (setgroups(0, nullptr) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) _exit(126);
  }
  // After the change of user, which would clear it.
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  if (chdir("/") == 0) execv(arguments[0], arguments.data());
  _exit(127);
}

pid_t Spawn(const std::vector<std::string>& command, const std::string& log) {
  const pid_t child = fork();
  if (child == 0) Exec(command, log);
  return child;
}

int ExitStatus(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

std::string OwnedDir() {
  const std::string path = MakeTempDir();
  if (const passwd* user = Unprivileged(); user != nullptr && chown(path.c_str(), user->pw_uid, user->pw_gid) != 0) {
    Give(absl::StrCat("cannot give away ", path));
  }
  return path;
}

}  // namespace

bool PostgresServer::IsInstalled() {
  return RealFileSystem().Exists(Program("initdb"));
}

PostgresServer* PostgresServer::Shared() {
  static const std::unique_ptr<PostgresServer> server = IsInstalled() ? Start() : nullptr;
  return server.get();
}

std::unique_ptr<PostgresServer> PostgresServer::Start(const std::vector<std::string>& settings) {
  std::unique_ptr<PostgresServer> server(new PostgresServer());
  server->socket_dir_ = OwnedDir();
  server->data_dir_ = JoinPath(server->socket_dir_, "data");
  server->settings_ = settings;
  const std::vector<std::string> initialize = {Program("initdb"),  "--no-sync",   "--auth=trust", "--encoding=UTF8",
                                               "--username=admin", "--no-locale", "-D",           server->data_dir_};
  const std::string log = JoinPath(server->socket_dir_, "log");
  if (ExitStatus(Spawn(initialize, log)) != 0) Give(absl::StrCat("initdb failed, see ", log));
  server->Launch();
  server->Psql("postgres", absl::StrCat("CREATE ROLE ", kRole, " LOGIN"));
  return server;
}

PostgresServer::~PostgresServer() {
  kill(process_, SIGQUIT);
  ExitStatus(process_);
}

void PostgresServer::Launch() {
  std::vector<std::string> command = {Program("postgres"), "-D", data_dir_, "-k", socket_dir_};
  std::vector<std::string> settings = {"listen_addresses=", "shared_buffers=32MB", "max_connections=200"};
  settings.insert(settings.end(), settings_.begin(), settings_.end());
  for (const std::string& setting : settings) command.insert(command.end(), {"-c", setting});
  const std::string log = JoinPath(socket_dir_, "log");
  process_ = Spawn(command, log);
  for (const absl::Time end = absl::Now() + kPatience; !Answers();) {
    if (absl::Now() > end) Give(absl::StrCat("does not start, see ", log));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

bool PostgresServer::Answers() const {
  const std::vector<std::string> ask = {
      Program("pg_isready"), "-q", "-h", socket_dir_, "-U", "admin", "-d", "postgres"};
  return ExitStatus(Spawn(ask, "/dev/null")) == 0;
}

std::string PostgresServer::NewDatabase() {
  const std::string name = absl::StrCat("test", ++databases_);
  Psql("postgres", absl::StrCat("CREATE DATABASE ", name, " OWNER ", kRole));
  return Dsn(socket_dir_, name);
}

std::string PostgresServer::Dsn(const std::string& socket_dir, const std::string& database) {
  return absl::StrFormat("host=%s port=5432 dbname=%s user=%s", socket_dir, database, kRole);
}

std::string PostgresServer::Psql(const std::string& database, const std::string& sql) const {
  const std::string command = absl::StrFormat("%s -X -q -A -t -v ON_ERROR_STOP=1 -h %s -U admin -d %s -c \"%s\"",
                                              Program("psql"), socket_dir_, database, sql);
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) Give("cannot run psql");
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t count = fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), count);
  if (pclose(pipe) != 0) Give(absl::StrCat("psql failed: ", sql));
  return std::string(absl::StripSuffix(output, "\n"));
}

void PostgresServer::Crash() {
  // The postmaster first: its children end themselves when it is gone, without another word to anybody.
  kill(process_, SIGKILL);
  ExitStatus(process_);
}

void PostgresServer::Restart() {
  kill(process_, SIGINT);
  ExitStatus(process_);
  Launch();
}

}  // namespace quantd
