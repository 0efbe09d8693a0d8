#include "tests/core/pipeline/small_job.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/sha256.h"
#include "core/formats/manifest.h"
#include "core/formats/safetensors.h"
#include "core/pipeline/artifact_folder.h"
#include "tests/testing/test_paths.h"

namespace quantd {
namespace {

constexpr int kDied = 86;

bool IsOfBlockFrom(const std::string& tensor, int first, int all) {
  for (int block = first; block < all; ++block) {
    if (absl::StrContains(tensor, absl::StrCat("layers.", block, "."))) return true;
  }
  return false;
}

void WriteFirstBlocks(const std::string& from, const std::string& to, int blocks, int all) {
  const SafetensorsFile source = *SafetensorsFile::Open(from);
  std::vector<TensorSpec> specs;
  for (const TensorEntry& tensor : source.tensors()) {
    if (!IsOfBlockFrom(tensor.name, blocks, all)) specs.push_back({tensor.name, tensor.dtype, tensor.shape});
  }
  const auto writer = *SafetensorsWriter::Create(RealFileSystem(), to, specs, {{"format", "pt"}});
  for (const TensorSpec& spec : specs) {
    const auto bytes = source.Bytes(*source.Find(spec.name));
    EXPECT_TRUE(writer->Append({bytes.data(), bytes.size()}).ok());
  }
  EXPECT_TRUE(writer->Finish().ok());
}

// The beginning of a text: tokenizing all of it would take most of the test's time.
std::string Excerpt(const std::string& text) {
  constexpr size_t kBytes = 20'000;
  const std::string bytes = *RealFileSystem().ReadFile(SourcePath(text), 1 << 30);
  const std::string path = JoinPath(MakeTempDir(), BaseName(text));
  EXPECT_TRUE(WriteFileDurably(RealFileSystem(), path, bytes.substr(0, bytes.rfind(' ', kBytes))).ok());
  return path;
}

}  // namespace

std::string ModelOfBlocks(const std::string& name, int blocks) {
  FileSystem& files = RealFileSystem();
  const std::string source = SourcePath("data/models/" + name);
  const std::string folder = JoinPath(MakeTempDir(), name);
  EXPECT_TRUE(files.CreateDirectories(folder).ok());
  const std::vector<std::string> names = *files.ListDirectory(source);
  for (const std::string& file : names) {
    EXPECT_TRUE(files.LinkOrCopy(JoinPath(source, file), JoinPath(folder, file)).ok());
  }
  Json config = *ReadJsonFile(JoinPath(source, "config.json"));
  const int all = config["num_hidden_layers"];
  config["num_hidden_layers"] = blocks;
  // Rotary positions have no table: a short context makes measuring speed quick. A learned table keeps its size.
  if (config.contains("rope_theta")) config["max_position_embeddings"] = 32;
  EXPECT_TRUE(WriteFileDurably(files, JoinPath(folder, "config.json"), config.dump()).ok());
  const std::string weights = JoinPath(folder, "model.safetensors");
  EXPECT_TRUE(files.RemoveFile(weights).ok());
  WriteFirstBlocks(JoinPath(source, "model.safetensors"), weights, blocks, all);
  return folder;
}

void FillTensor(const std::string& model_folder, const std::string& tensor, float value) {
  const std::string path = JoinPath(model_folder, "model.safetensors"), filled = path + ".filled";
  const SafetensorsFile source = *SafetensorsFile::Open(path);
  ASSERT_NE(source.Find(tensor), nullptr) << tensor;
  std::vector<TensorSpec> specs;
  for (const TensorEntry& entry : source.tensors()) specs.push_back({entry.name, entry.dtype, entry.shape});
  const auto writer = *SafetensorsWriter::Create(RealFileSystem(), filled, specs, {{"format", "pt"}});
  for (const TensorEntry& entry : source.tensors()) {
    const auto stored = source.Bytes(entry);
    std::string bytes(stored.data(), stored.size());
    const std::vector<float> values(bytes.size() / static_cast<size_t>(DtypeBytes(entry.dtype)), value);
    if (entry.name == tensor) NarrowFromF32(entry.dtype, values, bytes.data());
    EXPECT_TRUE(writer->Append(bytes).ok());
  }
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_TRUE(RealFileSystem().Rename(filled, path).ok());
}

JobSpec SmallJob(const std::string& model_folder, const std::string& preset) {
  JobSpec spec;
  spec.model = model_folder;
  spec.preset = preset;
  spec.overrides = SharedJson(Json{{"bits", 3}});
  if (preset != "rtn") {
    spec.calibration_file = Excerpt("data/books/calibration.txt");
    spec.calibration_sequences = 10;
    spec.calibration_length = 24;
  }
  spec.evaluation_file = Excerpt("data/books/heldout.txt");
  spec.evaluation_context = 24;
  spec.evaluation_windows = 10;
  return spec;
}

absl::StatusOr<Report> RunSmallJob(const SmallRun& run) {
  const auto context =
      ExecutionContext::Create({.threads = run.threads, .memory_budget_bytes = run.memory_budget_bytes});
  if (!context.ok()) return context.status();
  const RunOptions options{.roots = {},
                           .out = run.out,
                           .overwrite = false,
                           .checkpoint = {.folder = run.checkpoint,
                                          .interval = run.interval,
                                          .on_commit = run.on_commit,
                                          .on_resume = run.on_resume,
                                          .on_problem = run.on_problem},
                           .on_plan = run.on_plan,
                           .progress = run.progress,
                           .cancelled = run.cancelled};
  return RunJob(**context, run.spec, options);
}

void Die() {
  _exit(kDied);
}

bool RunUntilDeath(const SmallRun& run) {
  const pid_t child = fork();
  if (child == 0) {
    const auto report = RunSmallJob(run);
    if (!report.ok()) fprintf(stderr, "%s\n", report.status().ToString().c_str());
    _exit(report.ok() ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  const int code = WEXITSTATUS(status);
  EXPECT_TRUE(code == 0 || code == kDied) << code;
  return code == kDied;
}

std::map<std::string, std::string> Digests(const std::string& artifact) {
  std::map<std::string, std::string> digests;
  const auto described = DigestedFiles(RealFileSystem(), artifact);
  EXPECT_TRUE(described.ok()) << described.status();
  if (!described.ok()) return digests;
  for (const ManifestFile& file : *described) digests[file.path] = file.sha256;
  digests[kManifestFileName] = *Sha256OfFile(JoinPath(artifact, kManifestFileName));
  return digests;
}

}  // namespace quantd
