#include "worker/agent/server_connection.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <mutex>
#include <utility>

#include "core/base/status.h"
#include "quantd/v1/worker_service.grpc.pb.h"
#include "worker/agent/rpc_status.h"

namespace quantd {

struct ServerConnection::Transport {
  explicit Transport(std::shared_ptr<grpc::Channel> channel) : stub(std::move(channel)) {}
  v1::WorkerService::Stub stub;
};

struct ServerConnection::Shared {
  std::mutex mutex;
  std::shared_ptr<Transport> transport;  // guarded by mutex
};

namespace {

constexpr int kMaxReconnectBackoffMs = 1000;
constexpr int kLongestConnectMs = 10'000;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // In spite of its name also the time that one attempt to connect may take: far hosts and busy ones need some.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kLongestConnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectBackoffMs);
  // Else a new channel would be handed the silent connection of the old one.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

// A client context with a deadline that a stop token cancels.
class Call {
 public:
  explicit Call(const CallLimits& limits) : cancel_(limits.stop, Canceller{&context_}) {
    context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(limits.deadline));
  }
  grpc::ClientContext* context() { return &context_; }

 private:
  struct Canceller {
    grpc::ClientContext* context;
    void operator()() const { context->TryCancel(); }
  };
  grpc::ClientContext context_;
  std::stop_callback<Canceller> cancel_;
};

// False once the stream is broken: its status says why.
absl::StatusOr<bool> SendChunks(grpc::ClientWriter<v1::UploadArtifactRequest>& writer,
                                const ServerConnection::ChunkReader& read) {
  v1::UploadArtifactRequest message;
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view chunk, read());
    if (chunk.empty()) return true;
    message.set_data(chunk.data(), chunk.size());
    if (!writer.Write(message)) return false;
  }
}

}  // namespace

ServerConnection::ServerConnection(std::string address)
    : address_(std::move(address)), shared_(std::make_unique<Shared>()) {
  Reconnect();
}

ServerConnection::~ServerConnection() = default;

void ServerConnection::Reconnect() {
  auto fresh = std::make_shared<Transport>(MakeChannel(address_));
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  std::swap(shared_->transport, fresh);
}

std::shared_ptr<ServerConnection::Transport> ServerConnection::transport() const {
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  return shared_->transport;
}

absl::StatusOr<v1::SynchronizeResponse> ServerConnection::Synchronize(const v1::SynchronizeRequest& request,
                                                                      const CallLimits& limits) {
  Call call(limits);
  v1::SynchronizeResponse response;
  RETURN_IF_ERROR(FromRpc(transport()->stub.Synchronize(call.context(), request, &response)));
  return response;
}

absl::StatusOr<int64_t> ServerConnection::GetUploadOffset(const v1::GetUploadOffsetRequest& request,
                                                          const CallLimits& limits) {
  Call call(limits);
  v1::GetUploadOffsetResponse response;
  RETURN_IF_ERROR(FromRpc(transport()->stub.GetUploadOffset(call.context(), request, &response)));
  return response.offset();
}

absl::StatusOr<int64_t> ServerConnection::Upload(const v1::UploadArtifactRequest::Header& header,
                                                 const ChunkReader& read, const CallLimits& limits) {
  Call call(limits);
  const std::shared_ptr<Transport> transport_kept = transport();
  v1::UploadArtifactResponse response;
  const auto writer = transport_kept->stub.UploadArtifact(call.context(), &response);
  v1::UploadArtifactRequest first;
  *first.mutable_header() = header;
  absl::StatusOr<bool> sent = writer->Write(first);
  if (*sent) sent = SendChunks(*writer, read);
  if (!sent.ok()) call.context()->TryCancel();
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  RETURN_IF_ERROR(sent.status());
  RETURN_IF_ERROR(FromRpc(status));
  return response.size_bytes();
}

absl::StatusOr<std::vector<std::string>> ServerConnection::CheckpointFilesMissing(
    const v1::CommitCheckpointRequest& request, const CallLimits& limits) {
  Call call(limits);
  v1::CheckpointFilesMissingResponse response;
  RETURN_IF_ERROR(FromRpc(transport()->stub.CheckpointFilesMissing(call.context(), request, &response)));
  return std::vector<std::string>(response.paths().begin(), response.paths().end());
}

absl::Status ServerConnection::CommitCheckpoint(const v1::CommitCheckpointRequest& request, const CallLimits& limits) {
  Call call(limits);
  v1::CommitCheckpointResponse response;
  return FromRpc(transport()->stub.CommitCheckpoint(call.context(), request, &response));
}

absl::Status ServerConnection::DownloadCheckpoint(const v1::DownloadCheckpointRequest& request,
                                                  const std::function<absl::Status(absl::string_view)>& sink,
                                                  const CallLimits& limits) {
  Call call(limits);
  const std::shared_ptr<Transport> transport_kept = transport();
  const auto reader = transport_kept->stub.DownloadCheckpoint(call.context(), request);
  v1::DownloadCheckpointResponse response;
  absl::Status taken;
  while (taken.ok() && reader->Read(&response)) taken = sink(response.data());
  if (!taken.ok()) call.context()->TryCancel();
  const grpc::Status status = reader->Finish();
  RETURN_IF_ERROR(taken);
  return FromRpc(status);
}

}  // namespace quantd
