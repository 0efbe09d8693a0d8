// The gRPC server: both services, health, reflection if wanted.
#ifndef QUANTD_SERVER_DAEMON_GRPC_LISTENER_H_
#define QUANTD_SERVER_DAEMON_GRPC_LISTENER_H_

#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace quantd {

struct GrpcOptions {
  std::string address;  // HOST:PORT; port 0 takes a free one
  bool reflection = false;
  int max_threads = 1024;
};

class GrpcListener {
 public:
  // The services must outlive the listener. ADDRESS_IN_USE, ADDRESS_INVALID.
  static absl::StatusOr<std::unique_ptr<GrpcListener>> Start(const GrpcOptions& options,
                                                             const std::vector<grpc::Service*>& services);
  ~GrpcListener();

  const std::string& address() const { return address_; }  // with the real port
  // The standard health service: "" and each service.
  void SetServing(bool serving);
  // Takes no new calls; those under way are cancelled after `patience`.
  void Shutdown(absl::Duration patience);

 private:
  GrpcListener() = default;
  std::string address_;
  // grpc++ 1.51 lets its own threads wait for the network in a server with callback methods, and after a second without
  // a call to one of those they sleep for 100 ms, during which nothing is received. Somebody waiting at this queue, to
  // which no method belongs, keeps receiving.
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::thread poller_;
};

}  // namespace quantd

#endif  // QUANTD_SERVER_DAEMON_GRPC_LISTENER_H_
