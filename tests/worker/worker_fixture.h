// A worker in this process, a fake server, and shell scripts in the place of `quant`.
#ifndef QUANTD_TESTS_WORKER_WORKER_FIXTURE_H_
#define QUANTD_TESTS_WORKER_WORKER_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "quantd/v1/worker_service.pb.h"
#include "tests/worker/fake_server.h"
#include "worker/agent/agent.h"
#include "worker/agent/process.h"

namespace quantd {

// Writes an executable `#!/bin/sh` script with `body`. Inside, $OUT is the folder the artifact belongs in, $CHECKPOINT
// that of the checkpoint, `say PHASE FRACTION` writes a progress line, and `commit BLOCK` commits a checkpoint of
// checkpoint.json, state-BLOCK and block-1 to block-BLOCK.
std::string WriteChildScript(const std::string& folder, absl::string_view body);

// A body that writes a small artifact with an export in a folder of its own.
extern const char kSuccess[];

class WorkerTest : public testing::Test {
 protected:
  WorkerTest();
  ~WorkerTest() override;

  // Starts an agent whose children run `body`.
  void StartWorker(absl::string_view body);
  // Drains it and waits for its end.
  void StopWorker();

  static v1::Assignment MakeAssignment(const std::string& job, int64_t fence, int lease_ms = 3000);
  std::vector<std::string> ScratchNames() const;
  // What a child wrote into a file of the test's folder; "" when absent.
  std::string ReadNote(const std::string& name) const;

  const std::string folder_;
  FakeServer server_;
  AgentOptions options_;
  Spawner* spawner_ = &RealSpawner();
  std::unique_ptr<Agent> agent_;
  std::thread thread_;
  absl::Status end_;  // of Run(); read after StopWorker()
};

// True while a process with this number exists that is not a zombie.
bool IsAlive(const std::string& pid);

}  // namespace quantd

#endif  // QUANTD_TESTS_WORKER_WORKER_FIXTURE_H_
