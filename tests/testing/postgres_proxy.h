// Stands between a client and a PostgreSQL server and cuts their connection at a chosen message of the client.
//
// Messages that ask for an answer are counted over all connections, from 1. Start-up packets do not count.
#ifndef QUANTD_TESTS_TESTING_POSTGRES_PROXY_H_
#define QUANTD_TESTS_TESTING_POSTGRES_PROXY_H_

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace quantd {

class PostgresProxy {
 public:
  enum class Cut {
    kRequest,  // the message does not reach the server
    kAnswer,   // the server has done it, and its answer gets lost
  };

  // `server_dir`: where the server's socket is.
  explicit PostgresProxy(const std::string& server_dir);
  ~PostgresProxy();
  PostgresProxy(const PostgresProxy&) = delete;

  // Use it as host in a DSN.
  const std::string& socket_dir() const { return socket_dir_; }

  // Cuts at the message after `after` more of them; counts anew.
  void CutAfter(int after, Cut cut);
  void CutNothing() { CutAfter(-1, Cut::kRequest); }
  // From now on: as if the server were frozen. Connections are accepted and nothing is answered.
  void Freeze(bool frozen) { frozen_ = frozen; }
  bool has_cut() const { return has_cut_; }
  int messages() const { return messages_; }

 private:
  enum class Verdict { kPass, kCutNow, kCutAfterAnswer };
  void Accept();
  void Serve(int client);
  bool Forward(int from, int to) const;
  bool ForwardMessage(int client, int server);
  Verdict Judge(char type);

  const std::string socket_dir_;
  const std::string server_path_;
  const int listener_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> frozen_{false};
  std::atomic<bool> has_cut_{false};
  std::atomic<int> messages_{0};
  std::mutex mutex_;
  int cut_at_ = 0;  // guarded by mutex_, as are all below; 0: never
  Cut cut_ = Cut::kRequest;
  std::vector<std::thread> sessions_;
  std::thread acceptor_;  // last
};

}  // namespace quantd

#endif  // QUANTD_TESTS_TESTING_POSTGRES_PROXY_H_
