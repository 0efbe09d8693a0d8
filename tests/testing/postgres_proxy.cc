#include "tests/testing/postgres_proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "core/base/file_system.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr char kSocketName[] = ".s.PGSQL.5432";
constexpr int kLookMs = 20;

sockaddr_un Address(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

int Listen(const std::string& path) {
  const sockaddr_un address = Address(path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 64) != 0) std::abort();
  return fd;
}

int Connect(const std::string& path) {
  const sockaddr_un address = Address(path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

bool ReadAll(int fd, char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = read(fd, data, size);
    if (count <= 0) return false;
    data += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

bool WriteAll(int fd, const std::string& bytes) {
  return send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

// A message of the protocol: a type (none at the start), the length of the rest, the rest.
bool ReadMessage(int fd, bool has_type, std::string& message) {
  const size_t head = has_type ? 5 : 4;
  message.resize(head);
  if (!ReadAll(fd, message.data(), head)) return false;
  uint32_t length;
  std::memcpy(&length, message.data() + head - 4, sizeof length);
  const size_t rest = ntohl(length) - 4;
  message.resize(head + rest);
  return ReadAll(fd, message.data() + head, rest);
}

// A query in either protocol ends with one of these.
bool AsksForAnswer(char type) {
  return type == 'Q' || type == 'S';
}

}  // namespace

PostgresProxy::PostgresProxy(const std::string& server_dir)
    : socket_dir_(MakeTempDir()),
      server_path_(JoinPath(server_dir, kSocketName)),
      listener_(Listen(JoinPath(socket_dir_, kSocketName))),
      acceptor_([this] { Accept(); }) {}

PostgresProxy::~PostgresProxy() {
  stopping_ = true;
  acceptor_.join();
  for (std::thread& session : sessions_) session.join();
  close(listener_);
}

void PostgresProxy::CutAfter(int after, Cut cut) {
  const std::lock_guard<std::mutex> lock(mutex_);
  messages_ = 0;
  has_cut_ = false;
  cut_at_ = after + 1;
  cut_ = cut;
}

void PostgresProxy::Accept() {
  while (!stopping_) {
    pollfd fd = {listener_, POLLIN, 0};
    if (poll(&fd, 1, kLookMs) <= 0) continue;
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    const std::lock_guard<std::mutex> lock(mutex_);
    sessions_.emplace_back([this, client] { Serve(client); });
  }
}

void PostgresProxy::Serve(int client) {
  const int server = Connect(server_path_);
  std::string start;
  bool open = server >= 0 && ReadMessage(client, /*has_type=*/false, start) && WriteAll(server, start);
  while (open && !stopping_) {
    pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    if (poll(fds, 2, kLookMs) <= 0 || frozen_) continue;
    if (fds[1].revents != 0) open = Forward(server, client);
    if (open && fds[0].revents != 0) open = ForwardMessage(client, server);
  }
  close(client);
  if (server >= 0) close(server);
}

bool PostgresProxy::Forward(int from, int to) const {
  char buffer[16 << 10];
  const ssize_t count = read(from, buffer, sizeof buffer);
  return count > 0 && WriteAll(to, std::string(buffer, static_cast<size_t>(count)));
}

bool PostgresProxy::ForwardMessage(int client, int server) {
  std::string message;
  if (!ReadMessage(client, /*has_type=*/true, message)) return false;
  const Verdict verdict = Judge(message[0]);
  if (verdict == Verdict::kCutNow || !WriteAll(server, message)) return false;
  if (verdict == Verdict::kPass) return true;
  // "Ready for the next query": the server is done with this one.
  std::string answer(1, '\0');
  while (answer[0] != 'Z' && ReadMessage(server, /*has_type=*/true, answer)) {
  }
  return false;
}

PostgresProxy::Verdict PostgresProxy::Judge(char type) {
  if (!AsksForAnswer(type)) return Verdict::kPass;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (++messages_ != cut_at_) return Verdict::kPass;
  has_cut_ = true;
  return cut_ == Cut::kRequest ? Verdict::kCutNow : Verdict::kCutAfterAnswer;
}

}  // namespace quantd
