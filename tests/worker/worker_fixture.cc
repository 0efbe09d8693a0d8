#include "tests/worker/worker_fixture.h"

#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file_system.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

// Finds --out as `quant run` would, and offers `say`.
constexpr absl::string_view kPrelude = R"sh(#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in
    --out) OUT="$2" ;;
    --job) JOB="$2" ;;
    --checkpoint) CHECKPOINT="$2" ;;
  esac
  shift
done
digest() { sha256sum "$CHECKPOINT/$1" | cut -d' ' -f1; }
entry() { printf '{"path":"%s","size_bytes":%s,"sha256":"%s"}' "$1" "$(stat -c %s "$CHECKPOINT/$1")" "$(digest "$1")"; }
commit() {
  mkdir -p "$CHECKPOINT"
  echo "block $1" > "$CHECKPOINT/block-$1"
  echo "state $1" > "$CHECKPOINT/state-$1"
  echo "{\"block\":$1}" > "$CHECKPOINT/new"
  mv "$CHECKPOINT/new" "$CHECKPOINT/checkpoint.json"
  rm -f "$CHECKPOINT/state-$(($1 - 1))"
  LIST=$(entry checkpoint.json),$(entry "state-$1")
  for N in $(seq 1 "$1"); do LIST=$LIST,$(entry "block-$N"); done
  echo "{\"checkpoint\":{\"block\":$1,\"blocks\":9,\"phase\":\"quantize\",\"files\":[$LIST]}}" >&3
}
say() { echo "{\"phase\":\"$1\",\"block\":1,\"blocks\":2,\"layer\":\"layers.0.up\",\"fraction\":$2}" >&3; }
)sh";

std::string Slurp(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

}  // namespace

const char kSuccess[] = R"(
say quantize 0.5
mkdir -p "$OUT/exports/gptq"
head -c 3000000 /dev/zero > "$OUT/model-00001.safetensors"
: > "$OUT/empty.txt"
echo 'gptq weights' > "$OUT/exports/gptq/model.safetensors"
echo '{"preset":"gptq","size":{"original_bytes":"1000","quantized_bytes":300},"unknown_field":[1,2],"layers":[{"name":"layers.0.up","rows":4}]}' > "$OUT/report.json"
echo '{"phase_seconds":{"quantize":1.5},"speed":{"kernel":"dequantized"}}' > "$OUT/performance.json"
echo '{"schema":1}' > "$OUT/manifest.json"
)";

std::string WriteChildScript(const std::string& folder, absl::string_view body) {
  const std::string path = JoinPath(folder, "quant");
  std::ofstream(path) << kPrelude << body << "\n";
  EXPECT_EQ(chmod(path.c_str(), 0700), 0);
  return path;
}

WorkerTest::WorkerTest() : folder_(MakeTempDir()) {
  options_.server = server_.address();
  options_.worker_id = "w1";
  options_.runner.model_root = "/models";
  options_.runner.data_root = "/texts";
  options_.runner.scratch_dir = JoinPath(folder_, "scratch");
  options_.runner.grace = absl::Milliseconds(300);
  options_.progress_interval = absl::Milliseconds(20);
  options_.drain_limit = absl::Seconds(5);
  EXPECT_TRUE(RealFileSystem().CreateDirectories(options_.runner.scratch_dir).ok());
}

WorkerTest::~WorkerTest() {
  StopWorker();
}

void WorkerTest::StartWorker(absl::string_view body) {
  options_.runner.quant_path = WriteChildScript(folder_, absl::StrCat("NOTES='", folder_, "'\n", body));
  agent_ = std::make_unique<Agent>(options_, AgentServices{RealFileSystem(), *spawner_});
  thread_ = std::thread([this] { end_ = agent_->Run(); });
}

void WorkerTest::StopWorker() {
  if (!thread_.joinable()) return;
  agent_->Drain();
  thread_.join();
  agent_.reset();
}

v1::Assignment WorkerTest::MakeAssignment(const std::string& job, int64_t fence, int lease_ms) {
  v1::Assignment assignment;
  assignment.set_job(job);
  assignment.set_fence(fence);
  assignment.set_lease_ms(lease_ms);
  assignment.set_attempt(1);
  assignment.mutable_spec()->set_model("tiny");
  assignment.mutable_spec()->mutable_recipe()->set_preset("gptq");
  return assignment;
}

std::vector<std::string> WorkerTest::ScratchNames() const {
  return RealFileSystem().ListDirectory(options_.runner.scratch_dir).value_or(std::vector<std::string>{"?"});
}

std::string WorkerTest::ReadNote(const std::string& name) const {
  return std::string(absl::StripAsciiWhitespace(Slurp(JoinPath(folder_, name))));
}

bool IsAlive(const std::string& pid) {
  const std::string status = Slurp(absl::StrCat("/proc/", pid, "/status"));
  return !status.empty() && !absl::StrContains(status, "State:\tZ");
}

}  // namespace quantd
