// What the parts of QuantdClient share. Internal to client/: it includes the generated gRPC stubs.
#ifndef QUANTD_CLIENT_CONNECTION_H_
#define QUANTD_CLIENT_CONNECTION_H_

#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "client/quantd_client.h"
#include "client/resource_name.h"
#include "client/rpc_status.h"
#include "core/base/status.h"
#include "quantd/v1/quant_service.grpc.pb.h"

namespace quantd {

struct QuantdClient::Connection {
  std::string server;
  std::string tenant;
  absl::Duration timeout;
  std::unique_ptr<v1::QuantService::StubInterface> stub;

  template <typename Request, typename Response>
  using Method = grpc::Status (v1::QuantService::StubInterface::*)(grpc::ClientContext*, const Request&, Response*);

  // The default of `parent`.
  absl::Status CompleteParent(std::string* parent) const {
    if (!parent->empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(*parent, ParentOf(tenant));
    return absl::OkStatus();
  }

  // A call that names one job and nothing else.
  template <typename Request, typename Response>
  absl::StatusOr<Response> CallOnJob(Method<Request, Response> method, absl::string_view job) {
    Request request;
    ASSIGN_OR_RETURN(*request.mutable_name(), ExpandJobName(job, tenant));
    return Call(method, request);
  }

  // One unary call within the client's timeout.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(Method<Request, Response> method, const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return FromRpcStatus(status, server);
    return response;
  }
};

}  // namespace quantd

#endif  // QUANTD_CLIENT_CONNECTION_H_
