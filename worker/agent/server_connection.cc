#include "worker/agent/server_connection.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <mutex>
#include <random>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
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
  size_t address = 0;                    // guarded by mutex; index of the one that transport goes to
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

std::vector<std::string> SplitAddresses(const std::string& addresses) {
  std::vector<std::string> split;
  for (const absl::string_view address : absl::StrSplit(addresses, ',')) {
    const absl::string_view trimmed = absl::StripAsciiWhitespace(address);
    if (!trimmed.empty()) split.emplace_back(trimmed);
  }
  if (split.empty()) split.push_back(addresses);
  return split;
}

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

ServerConnection::ServerConnection(const std::string& addresses)
    : addresses_(SplitAddresses(addresses)), shared_(std::make_unique<Shared>()) {
  // Workers spread over the servers.
  shared_->address = std::random_device()() % addresses_.size();
  Reconnect();
}

ServerConnection::~ServerConnection() = default;

std::string ServerConnection::address() const {
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  return addresses_[shared_->address];
}

void ServerConnection::Reconnect() {
  std::shared_ptr<Transport> old;
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  shared_->address = (shared_->address + 1) % addresses_.size();
  old = std::exchange(shared_->transport, std::make_shared<Transport>(MakeChannel(addresses_[shared_->address])));
}

void ServerConnection::TryNextServer() {
  if (addresses_.size() > 1) Reconnect();
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
