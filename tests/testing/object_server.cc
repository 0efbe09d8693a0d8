#include "tests/testing/object_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/file_system.h"
#include "core/base/json.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(120);

// The process id; `*input` is the writing end of its standard input.
pid_t StartProcess(std::vector<std::string> words, int* input) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t process = fork();
  if (process == 0) {
    dup2(ends[0], STDIN_FILENO);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[0]);
  *input = ends[1];
  return process;
}

}  // namespace

std::optional<std::string> TestPython() {
  const char* folder = std::getenv("QUANTD_TEST_VENV");
  const std::string python = JoinPath(folder != nullptr ? folder : SourcePath("build/test-venv"), "bin/python3");
  if (access(python.c_str(), X_OK) != 0) return std::nullopt;
  return python;
}

std::unique_ptr<ObjectServer> ObjectServer::Start(const std::string& kind, const std::string& python) {
  std::unique_ptr<ObjectServer> server(new ObjectServer);
  const std::string ready_file = JoinPath(MakeTempDir(), "ready.json");
  server->process_ =
      StartProcess({python, SourcePath("tests/testing/s3_server.py"), kind, ready_file}, &server->stdin_);
  if (server->process_ < 0 || !server->WaitUntilReady(ready_file)) return nullptr;
  return server;
}

bool ObjectServer::WaitUntilReady(const std::string& ready_file) {
  const absl::Time end = absl::Now() + kPatience;
  while (!RealFileSystem().Exists(ready_file)) {
    if (absl::Now() > end || waitpid(process_, nullptr, WNOHANG) != 0) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
  const auto json = ReadJsonFile(ready_file);
  if (!json.ok()) return false;
  const auto text = [&](const char* key) { return JsonStringOr(*json, key, "", ready_file).value_or(""); };
  endpoint_ = text("endpoint");
  ca_file_ = text("ca_file");
  credentials_file_ = JoinPath(DirectoryName(ready_file), "credentials");
  return WriteFileDurably(RealFileSystem(), credentials_file_,
                          absl::StrCat("[default]\naws_access_key_id = ", text("access_key"),
                                       "\naws_secret_access_key = ", text("secret_key"), "\n"))
      .ok();
}

ObjectServer::~ObjectServer() {
  if (stdin_ >= 0) close(stdin_);
  if (process_ > 0) waitpid(process_, nullptr, 0);
}

}  // namespace quantd
