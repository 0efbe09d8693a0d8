#include "core/pipeline/run_job.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/formats/model_files.h"
#include "core/model/architecture.h"
#include "core/pipeline/artifact_writer.h"
#include "core/pipeline/export_gptq.h"
#include "core/pipeline/job_plan.h"

namespace quantd {
namespace {

constexpr char kReportFile[] = "report.json";
constexpr char kPerformanceFile[] = "performance.json";
constexpr char kHtmlFile[] = "report.html";

// Files of the folder that hold measurements: present, never digested.
bool IsVolatile(const std::string& path) {
  return path == kPerformanceFile || path == kHtmlFile;
}

class JobRun {
 public:
  JobRun(const ExecutionContext& context, const RunOptions& options, JobPlan plan, Progress& progress)
      : context_(context),
        options_(options),
        plan_(std::move(plan)),
        progress_(progress),
        folder_(options.out + ".partial") {}

  absl::StatusOr<Report> Run() {
    RETURN_IF_ERROR(PrepareFolder());
    absl::Status status = Work();
    if (!status.ok()) {
      (void)files_.RemoveAll(folder_);
      return status;
    }
    return std::move(report_);
  }

 private:
  absl::Status PrepareFolder() {
    if (files_.Exists(options_.out) && !options_.overwrite) {
      return InvalidInput("OUTPUT_EXISTS",
                          absl::StrFormat("%s exists; choose another --out, or allow overwriting", options_.out));
    }
    RETURN_IF_ERROR(files_.RemoveAll(folder_));
    RETURN_IF_ERROR(files_.CreateDirectories(folder_));
    ASSIGN_OR_RETURN(const uint64_t free_bytes, files_.FreeBytes(folder_));
    if (static_cast<int64_t>(free_bytes) >= plan_.estimate.disk_bytes) return absl::OkStatus();
    return ReasonError(
        absl::StatusCode::kResourceExhausted, "DISK_BUDGET_EXCEEDED",
        absl::StrFormat("%s: %d bytes are free, the job needs about %d; free some space or choose another "
                        "directory",
                        folder_, free_bytes, plan_.estimate.disk_bytes));
  }

  absl::Status Work() {
    FillReportHead();
    RETURN_IF_ERROR(Quantize());
    RETURN_IF_ERROR(progress_.BeginPhase("evaluate"));
    RETURN_IF_ERROR(EvaluateAndExport());
    RETURN_IF_ERROR(progress_.BeginPhase("publish"));
    return Publish();
  }

  void FillReportHead() {
    const ModelConfig& config = plan_.source.model->config();
    report_.preset = plan_.recipe.preset;
    report_.recipe_json = plan_.recipe.ToJson().dump();
    report_.model.name = BaseName(plan_.spec.model);
    report_.model.architecture = config.architecture->name;
    report_.model.blocks = config.blocks;
    report_.model.hidden_size = config.hidden_size;
    report_.model.vocabulary_size = config.vocabulary_size;
    report_.model.parameters = plan_.parameters;
    report_.exports = plan_.spec.exports;
    for (const SitePlan& site : plan_.sites) {
      if (site.skip) report_.skipped_layers.push_back(site.site.name);
    }
    if (plan_.calibration.empty()) return;
    report_.calibration = ReportCalibration{.text = BaseName(plan_.spec.calibration_file),
                                            .text_sha256 = plan_.calibration_sha256,
                                            .sequences = plan_.spec.calibration_sequences,
                                            .length = plan_.spec.calibration_length,
                                            .seed = plan_.spec.seed,
                                            .bos = plan_.calibration_bos};
  }

  absl::Status Quantize() {
    ArtifactWriter writer(files_, folder_, *plan_.source.model);
    const BlockSink sink = [&](int block, std::vector<QuantizedSite> sites) -> absl::Status {
      for (const QuantizedSite& site : sites) AddLayer(site);
      return writer.AddBlock(block, sites);
    };
    const QuantizeOptions quantize{plan_.sites, plan_.calibration, folder_};
    RETURN_IF_ERROR(QuantizeModel(context_, *plan_.source.model, quantize, progress_, sink));
    RETURN_IF_ERROR(progress_.BeginPhase("pack"));
    RETURN_IF_ERROR(writer.Finish(plan_.spec.model));
    manifest_.sites = writer.sites();
    report_.size.original_bytes = static_cast<int64_t>(plan_.source.model->weights().StoredBytes());
    report_.size.quantized_bytes = static_cast<int64_t>(writer.tensor_bytes());
    if (report_.size.quantized_weights > 0) {
      report_.size.bits_per_weight = packed_bits_ / static_cast<double>(report_.size.quantized_weights);
    }
    return WriteProvisionalManifest();
  }

  void AddLayer(const QuantizedSite& site) {
    const SiteResult& result = site.result;
    const std::string solver = site.plan->parameters.Text("solver");
    report_.layers.push_back({.name = site.plan->site.name,
                              .block = site.plan->site.block,
                              .scheme = absl::StrCat(result.weight->Summary(), ", ", solver),
                              .rows = site.plan->site.rows,
                              .cols = site.plan->site.cols,
                              .bits_per_weight = result.weight->BitsPerWeight(),
                              .relative_output_error = std::sqrt(std::max(result.relative_squared_error, 0.0)),
                              .damping = result.damping,
                              .damping_retries = result.damping_retries,
                              .nearest_fallback = result.nearest_fallback,
                              .dead_columns = result.dead_columns});
    const int64_t weights = site.plan->site.rows * site.plan->site.cols;
    report_.size.quantized_weights += weights;
    packed_bits_ += result.weight->BitsPerWeight() * static_cast<double>(weights);
    report_.counters["damping_retries"] += result.damping_retries;
    report_.counters["nearest_fallbacks"] += result.nearest_fallback;
    report_.counters["dead_columns"] += result.dead_columns;
    if (!result.nearest_fallback) return;
    report_.warnings.push_back(
        absl::StrFormat("%s: the sensitivity could not be factorized even with more damping; the layer "
                        "was rounded to nearest",
                        site.plan->site.name));
  }

  // The artifact can be opened as soon as a manifest names its sites; digests come at the end.
  absl::Status WriteProvisionalManifest() {
    ASSIGN_OR_RETURN(manifest_.model_fingerprint, ModelFingerprint(files_, plan_.spec.model));
    manifest_.recipe_json = report_.recipe_json;
    manifest_.calibration_sha256 = plan_.calibration_sha256;
    manifest_.evaluation_sha256 = plan_.evaluation.token_stream_sha256;
    manifest_.build_version = QUANTD_VERSION;
    report_.model.sha256 = manifest_.model_fingerprint;
    RETURN_IF_ERROR(ListFiles());
    return WriteManifest(files_, folder_, manifest_);
  }

  absl::Status EvaluateAndExport() {
    ASSIGN_OR_RETURN(const OpenedModel quantized, OpenModelFolder(folder_, /*with_tokenizer=*/false));
    if (!plan_.evaluation.windows.empty()) RETURN_IF_ERROR(Evaluate(*quantized.model));
    for (const std::string& name : plan_.spec.exports) RETURN_IF_ERROR(Export(*quantized.artifact, name));
    return absl::OkStatus();
  }

  absl::Status Evaluate(const Transformer& quantized) {
    double reported = 0;
    EvaluationOptions options;
    options.scratch_directory = folder_;
    options.progress = [&](double fraction) {
      const double work = (fraction - reported) * plan_.estimate.evaluation_multiply_adds;
      reported = fraction;
      return progress_.Advance(work);
    };
    ASSIGN_OR_RETURN(Comparison comparison,
                     CompareModels(context_, *plan_.source.model, quantized, plan_.evaluation, options));
    report_.evaluation = ReportEvaluation{.text = BaseName(plan_.spec.evaluation_file),
                                          .text_sha256 = plan_.evaluation_sha256,
                                          .protocol = plan_.evaluation.protocol,
                                          .context = plan_.spec.evaluation_context,
                                          .token_stream_sha256 = plan_.evaluation.token_stream_sha256,
                                          .comparison = std::move(comparison)};
    return MeasureSpeeds(quantized);
  }

  // Speed is a service, not a condition: a model too large to hold in memory has none.
  absl::Status MeasureSpeeds(const Transformer& quantized) {
    const SpeedOptions options;
    const auto original_speed = MeasureSpeed(context_, *plan_.source.model, options);
    if (!original_speed.ok()) {
      report_.warnings.push_back(absl::StrCat("speed was not measured: ", original_speed.status().message()));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const Speed quantized_speed, MeasureSpeed(context_, quantized, options));
    report_.speed = ReportSpeed{.original = *original_speed,
                                .quantized = quantized_speed,
                                .threads = context_.threads(),
                                .isa = std::string(IsaName(context_.isa()))};
    return absl::OkStatus();
  }

  absl::Status Export(const ArtifactWeights& artifact, const std::string& name) {
    const std::string folder = absl::StrCat("exports/", name);
    ASSIGN_OR_RETURN(const LoadCertificate certificate,
                     ExportGptq(files_, artifact, plan_.sites, plan_.spec.model, JoinPath(folder_, folder)));
    manifest_.exports.push_back({name, folder, certificate.ToJson().dump()});
    return absl::OkStatus();
  }

  absl::Status Publish() {
    report_.phase_seconds = progress_.phase_seconds();
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    report_.peak_memory_bytes = static_cast<int64_t>(usage.ru_maxrss) * 1024;
    const auto write = [&](const char* name, const std::string& text) {
      return WriteFileDurably(files_, JoinPath(folder_, name), text);
    };
    RETURN_IF_ERROR(write(kReportFile, JsonText(ReportToJson(report_, ReportContent::kDeterministic))));
    RETURN_IF_ERROR(write(kPerformanceFile, JsonText(PerformanceToJson(report_))));
    RETURN_IF_ERROR(write(kHtmlFile, ReportHtml(report_)));
    RETURN_IF_ERROR(ListFiles());
    RETURN_IF_ERROR(WriteManifest(files_, folder_, manifest_));
    if (options_.overwrite) RETURN_IF_ERROR(files_.RemoveAll(options_.out));
    RETURN_IF_ERROR(files_.Rename(folder_, options_.out));
    return files_.SyncDirectory(DirectoryName(options_.out));
  }

  // Fills manifest_.files with the digests of everything below the folder that is not a measurement.
  absl::Status ListFiles() {
    manifest_.files.clear();
    RETURN_IF_ERROR(ListBelow(""));
    std::sort(manifest_.files.begin(), manifest_.files.end(),
              [](const ManifestFile& a, const ManifestFile& b) { return a.path < b.path; });
    return absl::OkStatus();
  }

  absl::Status ListBelow(const std::string& relative) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.ListDirectory(JoinPath(folder_, relative)));
    for (const std::string& name : names) {
      const std::string path = JoinPath(relative, name);
      if (files_.IsDirectory(JoinPath(folder_, path))) {
        RETURN_IF_ERROR(ListBelow(path));
      } else if (path != kManifestFileName && !IsVolatile(path)) {
        ASSIGN_OR_RETURN(ManifestFile file, DescribeFile(folder_, path));
        manifest_.files.push_back(std::move(file));
      }
    }
    return absl::OkStatus();
  }

  FileSystem& files_ = RealFileSystem();
  const ExecutionContext& context_;
  const RunOptions& options_;
  JobPlan plan_;
  Progress& progress_;
  std::string folder_;
  Manifest manifest_;
  Report report_;
  double packed_bits_ = 0;
};

}  // namespace

absl::StatusOr<Report> RunJob(const ExecutionContext& context, const JobSpec& spec, const RunOptions& options) {
  Progress progress(options.progress, options.cancelled);
  RETURN_IF_ERROR(progress.BeginPhase("plan"));
  ASSIGN_OR_RETURN(JobPlan plan, PlanJob(options.roots, spec, context.memory_budget_bytes()));
  progress.SetTotalWork(plan.estimate.multiply_adds);
  progress.SetBlocks(plan.source.model->config().blocks);
  return JobRun(context, options, std::move(plan), progress).Run();
}

}  // namespace quantd
