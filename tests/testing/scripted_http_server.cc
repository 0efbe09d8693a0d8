#include "tests/testing/scripted_http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

namespace quantd {
namespace {

constexpr char kEndOfHead[] = "\r\n\r\n";

// Reads until `done` is satisfied; false when the connection ends before.
template <typename Done>
bool ReadUntil(int connection, std::string& buffer, const Done& done) {
  char chunk[64 << 10];
  while (!done(buffer)) {
    const ssize_t got = recv(connection, chunk, sizeof chunk, 0);
    if (got <= 0) return false;
    buffer.append(chunk, static_cast<size_t>(got));
  }
  return true;
}

void SendAll(int connection, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

ScriptedRequest ParseHead(absl::string_view head) {
  ScriptedRequest request;
  const std::vector<absl::string_view> lines = absl::StrSplit(head, "\r\n");
  const std::vector<absl::string_view> words = absl::StrSplit(lines[0], ' ');
  request.method = std::string(words[0]);
  const std::pair<absl::string_view, absl::string_view> target = absl::StrSplit(words[1], absl::MaxSplits('?', 1));
  request.path = std::string(target.first);
  request.query = std::string(target.second);
  for (const absl::string_view line : lines) {
    const std::pair<absl::string_view, absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    request.headers[absl::AsciiStrToLower(halves.first)] = std::string(halves.second);
  }
  return request;
}

std::optional<ScriptedRequest> ReadRequest(int connection, std::string& buffer) {
  const auto has_head = [](const std::string& text) { return text.find(kEndOfHead) != std::string::npos; };
  if (!ReadUntil(connection, buffer, has_head)) return std::nullopt;
  const size_t head_end = buffer.find(kEndOfHead);
  ScriptedRequest request = ParseHead(absl::string_view(buffer).substr(0, head_end));
  buffer.erase(0, head_end + std::strlen(kEndOfHead));
  size_t length = 0;
  if (!request.headers["content-length"].empty() && !absl::SimpleAtoi(request.headers["content-length"], &length)) {
    return std::nullopt;
  }
  if (!ReadUntil(connection, buffer, [&](const std::string& text) { return text.size() >= length; })) {
    return std::nullopt;
  }
  request.body = buffer.substr(0, length);
  buffer.erase(0, length);
  return request;
}

}  // namespace

ScriptedHttpServer::ScriptedHttpServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener_, generic, size) != 0 || listen(listener_, 64) != 0 ||
      getsockname(listener_, generic, &size) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  accepter_ = std::thread([this] { Accept(); });
}

ScriptedHttpServer::~ScriptedHttpServer() {
  stopping_ = true;
  shutdown(listener_, SHUT_RDWR);
  accepter_.join();
  close(listener_);
  std::vector<std::thread> connections;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const int connection : open_) shutdown(connection, SHUT_RDWR);
    connections.swap(connections_);
  }
  for (std::thread& connection : connections) connection.join();
}

std::string ScriptedHttpServer::url() const {
  return absl::StrCat("http://127.0.0.1:", port_);
}

std::vector<ScriptedRequest> ScriptedHttpServer::requests() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return requests_;
}

void ScriptedHttpServer::Accept() {
  while (!stopping_) {
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    const std::lock_guard<std::mutex> lock(mutex_);
    open_.insert(connection);
    connections_.emplace_back([this, connection] { Serve(connection); });
  }
}

void ScriptedHttpServer::Serve(int connection) {
  std::string buffer;
  bool keep = true;
  while (keep && !stopping_) {
    const std::optional<ScriptedRequest> request = ReadRequest(connection, buffer);
    if (!request.has_value()) break;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      requests_.push_back(*request);
    }
    const ScriptedAnswer answer = handler_(*request);
    Wait(answer.delay);
    std::string text =
        absl::StrCat("HTTP/1.1 ", answer.status,
                     " Scripted\r\ncontent-length: ", answer.claimed_length.value_or(answer.body.size()), "\r\n");
    for (const auto& [name, value] : answer.headers) absl::StrAppend(&text, name, ": ", value, "\r\n");
    absl::StrAppend(&text, "\r\n");
    if (request->method != "HEAD")
      absl::StrAppend(&text, answer.body.substr(0, answer.cut_after.value_or(answer.body.size())));
    SendAll(connection, text);
    keep = !answer.cut_after.has_value();
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  open_.erase(connection);
  close(connection);
}

void ScriptedHttpServer::Wait(absl::Duration delay) const {
  constexpr absl::Duration kStep = absl::Milliseconds(10);
  for (; delay > absl::ZeroDuration() && !stopping_; delay -= kStep) absl::SleepFor(std::min(delay, kStep));
}

}  // namespace quantd
