// A daemon whose job database could not be synced: it says so to clients and probes, and reads go on.
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "core/base/file_system.h"
#include "core/base/status.h"
#include "quantd/v1/quant_service.grpc.pb.h"
#include "server/daemon/daemon.h"
#include "server/errors/rpc_status.h"
#include "tests/durability/simulated_vfs.h"
#include "tests/testing/http_get.h"
#include "tests/testing/simulated_disk.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// Knows one preset, and finds every job possible.
class AgreeingQuant : public CommandRunner {
 public:
  absl::StatusOr<CommandResult> Run(const std::vector<std::string>& argv, absl::Duration) override {
    CommandResult result;
    result.output = argv.at(1) == "recipes" ? R"({"presets": [{"name": "rtn"}]})"
                                            : R"({"artifact_bytes": 1000, "bits_per_weight": 4.25})";
    return result;
  }
};

class PoisonedStore : public testing::Test {
 protected:
  void SetUp() override {
    ServerConfig config;
    config.data_dir = disk_.root();
    config.model_root = config.data_root = roots_;
    config.listen = config.http_listen = "127.0.0.1:0";
    config.quant = "/bin/true";  // must be there, but AgreeingQuant answers
    config.sweep_ms = 10;
    ASSERT_OK(RealFileSystem().CreateDirectories(roots_ + "/m"));
    ASSERT_OK_AND_ASSIGN(daemon_, Daemon::Start(config, roots_, {RealClock(), quant_program_}));
    stub_ = v1::QuantService::NewStub(grpc::CreateChannel(daemon_->grpc_address(), grpc::InsecureChannelCredentials()));
  }

  absl::StatusOr<std::string> Submit() {
    grpc::ClientContext context;
    v1::SubmitQuantJobRequest request;
    request.mutable_spec()->set_model("m");
    request.mutable_spec()->mutable_recipe()->set_preset("rtn");
    v1::SubmitQuantJobResponse response;
    const grpc::Status status = stub_->SubmitQuantJob(&context, request, &response);
    if (!status.ok()) return FromRpcStatus(status);
    return response.job().name();
  }
  bool Readable(const std::string& name) {
    grpc::ClientContext context;
    v1::GetQuantJobRequest request;
    request.set_name(name);
    v1::QuantJob job;
    return stub_->GetQuantJob(&context, request, &job).ok();
  }
  int Probe(const char* request) { return HttpCall(daemon_->http_address(), request).code; }

  SimulatedDisk disk_{MakeMemoryDir()};
  const SimulatedVfs vfs_{disk_};
  const std::string roots_ = MakeTempDir();
  AgreeingQuant quant_program_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<v1::QuantService::Stub> stub_;
};

TEST_F(PoisonedStore, WritesAreRefusedReadsGoOnAndReadinessFallsUntilTheRestart) {
  ASSERT_OK_AND_ASSIGN(const std::string job, Submit());
  EXPECT_EQ(Probe("GET /readyz"), 200);
  disk_.SetFault({.at = 0, .error_number = EIO, .only = {DiskOperation::kSync}});
  const absl::Status refused = Submit().status();
  EXPECT_THAT(refused, FailsWith("STORE_FAILED", "restart quantd"));
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable) << "a client may repeat it, with its request id";
  disk_.Heal();
  EXPECT_THAT(Submit(), FailsWith("STORE_FAILED", "restart quantd")) << "also when the disk works again";
  EXPECT_TRUE(Readable(job));
  EXPECT_EQ(Probe("GET /readyz"), 503);
  EXPECT_EQ(Probe("GET /livez"), 200);
  EXPECT_THAT(HttpCall(daemon_->http_address(), "GET /metrics").body, testing::HasSubstr("quantd_store_writable 0"));
  daemon_.reset();
  disk_.LosePower(1);
  SetUp();
  EXPECT_TRUE(Readable(job));
  EXPECT_OK(Submit());
  EXPECT_EQ(Probe("GET /readyz"), 200);
}

}  // namespace
}  // namespace quantd
