// An HTTP server within the test that answers as it is told: late, cut off, with any status.
#ifndef QUANTD_TESTS_TESTING_SCRIPTED_HTTP_SERVER_H_
#define QUANTD_TESTS_TESTING_SCRIPTED_HTTP_SERVER_H_

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"

namespace quantd {

struct ScriptedRequest {
  std::string method;
  std::string path;                            // as sent, without the query
  std::string query;                           // as sent, without '?'
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
};

struct ScriptedAnswer {
  int status = 200;
  std::map<std::string, std::string> headers = {};
  std::string body = {};
  absl::Duration delay = {};                  // before the first byte
  std::optional<size_t> cut_after = {};       // closes after so many bytes of the body
  std::optional<size_t> claimed_length = {};  // content-length, when it is not the body's
};

class ScriptedHttpServer {
 public:
  using Handler = std::function<ScriptedAnswer(const ScriptedRequest&)>;

  // Listens on a free port of 127.0.0.1. `handler` is called from a thread for each connection.
  explicit ScriptedHttpServer(Handler handler);
  ~ScriptedHttpServer();

  std::string url() const;  // "http://127.0.0.1:PORT"
  // In the order of their arrival.
  std::vector<ScriptedRequest> requests() const;

 private:
  void Accept();
  void Serve(int connection);
  void Wait(absl::Duration delay) const;

  const Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  std::vector<ScriptedRequest> requests_;
  std::vector<std::thread> connections_;
  std::set<int> open_;
  std::thread accepter_;  // last: it uses all of the above
};

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_SCRIPTED_HTTP_SERVER_H_
