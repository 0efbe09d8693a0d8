// A real PostgreSQL for tests, from Debian's package, in a scratch folder: reached through a Unix socket only.
//
//   PostgresServer* server = PostgresServer::Shared();
//   if (server == nullptr) GTEST_SKIP() << PostgresServer::kAbsent;
//   const std::string dsn = server->NewDatabase();
#ifndef QUANTD_TESTS_TESTING_POSTGRES_SERVER_H_
#define QUANTD_TESTS_TESTING_POSTGRES_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

namespace quantd {

class PostgresServer {
 public:
  static constexpr char kAbsent[] =
      "SKIPPED: PostgreSQL 15 IS NOT INSTALLED (apt-get install postgresql): nothing was tested against it";

  static bool IsInstalled();

  // The one of this process, started at the first call; null when the package is absent. Aborts, with the server's log,
  // when it cannot be started.
  static PostgresServer* Shared();

  // One of its own, for tests that stop it. `settings`: "fsync=off".
  static std::unique_ptr<PostgresServer> Start(const std::vector<std::string>& settings = {});
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;

  // The DSN of an empty database owned by a role without privileges.
  std::string NewDatabase();
  // Where the socket .s.PGSQL.5432 is; a proxy's folder may take its place in a DSN.
  const std::string& socket_dir() const { return socket_dir_; }
  static std::string Dsn(const std::string& socket_dir, const std::string& database);

  // The output of psql as superuser, without headers. Aborts when it fails.
  std::string Psql(const std::string& database, const std::string& sql) const;

  // kill -9 of the server; Launch brings it back.
  void Crash();
  void Launch();
  // In order, as an operator does.
  void Restart();

 private:
  PostgresServer() = default;
  bool Answers() const;

  std::string data_dir_;
  std::string socket_dir_;
  std::vector<std::string> settings_;
  pid_t process_ = -1;
  int databases_ = 0;
};

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_POSTGRES_SERVER_H_
