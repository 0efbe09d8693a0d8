#include "core/pipeline/job_run.h"

#include <sys/resource.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/pipeline/artifact_folder.h"
#include "core/pipeline/export_gptq.h"
#include "core/pipeline/job_report.h"
#include "core/pipeline/saved_place.h"

namespace quantd {
namespace {

constexpr char kQuantizePhase[] = "quantize";
constexpr char kEvaluatePhase[] = "evaluate";

}  // namespace

JobRun::JobRun(const JobRunParts& parts)
    : parts_(parts),
      plan_(parts.plan),
      progress_(parts.progress),
      folder_(parts.options.out + ".partial"),
      writer_(files_, folder_, *parts.plan.source.model),
      report_(ReportHead(parts.plan, parts.model_fingerprint)) {}

absl::StatusOr<Report> JobRun::Run() {
  RETURN_IF_ERROR(PrepareFolder());
  absl::Status status = Work();
  if (!status.ok()) {
    (void)files_.RemoveAll(folder_);
    return status;
  }
  return std::move(report_);
}

absl::Status JobRun::PrepareFolder() {
  if (files_.Exists(parts_.options.out) && !parts_.options.overwrite) {
    return InvalidInput("OUTPUT_EXISTS",
                        absl::StrFormat("%s exists; choose another --out, or allow overwriting", parts_.options.out));
  }
  RETURN_IF_ERROR(files_.RemoveAll(folder_));
  RETURN_IF_ERROR(files_.CreateDirectories(folder_));
  const bool checkpoints = parts_.checkpointer.enabled();
  const JobEstimate& estimate = plan_.estimate;
  RETURN_IF_ERROR(CheckDisk(folder_, estimate.disk_bytes - (checkpoints ? 0 : estimate.checkpoint_bytes)));
  return checkpoints ? CheckDisk(parts_.options.checkpoint.folder, estimate.checkpoint_bytes) : absl::OkStatus();
}

absl::Status JobRun::CheckDisk(const std::string& folder, int64_t needed_bytes) {
  ASSIGN_OR_RETURN(const uint64_t free_bytes, files_.FreeBytes(folder));
  if (static_cast<int64_t>(free_bytes) >= needed_bytes) return absl::OkStatus();
  return ReasonError(
      absl::StatusCode::kResourceExhausted, "DISK_BUDGET_EXCEEDED",
      absl::StrFormat("%s: %d bytes are free, the job needs about %d; free some space or choose another directory",
                      folder, free_bytes, needed_bytes));
}

absl::Status JobRun::Work() {
  RETURN_IF_ERROR(Quantize());
  RETURN_IF_ERROR(progress_.BeginPhase("pack"));
  RETURN_IF_ERROR(Pack());
  RETURN_IF_ERROR(progress_.BeginPhase(kEvaluatePhase));
  RETURN_IF_ERROR(EvaluateAndExport());
  RETURN_IF_ERROR(progress_.BeginPhase("publish"));
  return Publish();
}

absl::Status JobRun::Quantize() {
  SavedQuantization saved;
  const CheckpointDocument* const document = parts_.checkpointer.saved();
  if (document != nullptr) {
    RETURN_IF_ERROR(RestoreBlocks(*document));
    ASSIGN_OR_RETURN(saved, SavedPlace(*document));
  }
  const QuantizeOptions quantize{.plans = plan_.sites,
                                 .calibration = plan_.calibration,
                                 .scratch_directory = folder_,
                                 .seed = plan_.spec.seed,
                                 .safe_point =
                                     [this](SafePoint point, absl::FunctionRef<QuantizeState()> state) {
                                       OfferQuantized(point, state);
                                       return absl::OkStatus();
                                     },
                                 .saved = document != nullptr ? &saved : nullptr};
  const BlockSink sink = [this](int block, const std::vector<QuantizedSite>& sites) {
    return FinishBlock(block, sites);
  };
  return QuantizeModel(parts_.context, *plan_.source.model, quantize, progress_, sink);
}

absl::Status JobRun::RestoreBlocks(const CheckpointDocument& saved) {
  const int blocks = plan_.source.model->config().blocks;
  for (int block = 0; block < std::min(saved.block, blocks); ++block) {
    std::vector<LayerRecord> layers;
    for (const LayerRecord& layer : saved.layers) {
      if (layer.block == block) layers.push_back(layer);
    }
    RETURN_IF_ERROR(parts_.checkpointer.folder().RestoreShard(block, writer_.ShardPath(block)));
    RETURN_IF_ERROR(writer_.RestoreBlock(block, layers));
    for (const LayerRecord& layer : layers) AddLayer(layer, report_);
    parts_.checkpointer.AddBlock(writer_.ShardPath(block), layers);
  }
  return absl::OkStatus();
}

absl::StatusOr<SavedQuantization> JobRun::SavedPlace(const CheckpointDocument& saved) const {
  const CheckpointFolder& folder = parts_.checkpointer.folder();
  SavedQuantization result;
  result.part = [&folder](const std::string& name) { return folder.ReadPart(name); };
  result.place.block = saved.block;
  if (saved.phase != kQuantizePhase) return result;
  ASSIGN_OR_RETURN(result.place, QuantizePlaceFromJson(saved.place_json));
  for (const LayerRecord& layer : saved.layers) {
    if (layer.block < saved.block) continue;
    const auto plan = std::find_if(plan_.sites.begin(), plan_.sites.end(),
                                   [&](const SitePlan& site) { return site.site.name == layer.name; });
    if (plan == plan_.sites.end()) return InvalidInput("CHECKPOINT_MALFORMED", layer.name + ": there is no such layer");
    ASSIGN_OR_RETURN(const StateTensors tensors, folder.ReadPart(LayerPartName(plan->site)));
    ASSIGN_OR_RETURN(QuantizedSite site, RestoreSite(layer, *plan, tensors));
    result.sites.push_back(std::move(site));
  }
  return result;
}

absl::Status JobRun::FinishBlock(int block, const std::vector<QuantizedSite>& sites) {
  std::vector<LayerRecord> layers;
  for (const QuantizedSite& site : sites) layers.push_back(RecordOf(site));
  RETURN_IF_ERROR(writer_.AddBlock(block, sites, layers));
  for (const LayerRecord& layer : layers) AddLayer(layer, report_);
  parts_.checkpointer.AddBlock(writer_.ShardPath(block), layers);
  return absl::OkStatus();
}

void JobRun::OfferQuantized(SafePoint point, absl::FunctionRef<QuantizeState()> state) {
  parts_.checkpointer.AtSafePoint(point, [&] {
    QuantizeState quantized = state();
    JobState job{kQuantizePhase, PlaceJson(quantized.place), std::move(quantized.parts), {}};
    for (const QuantizedSite& site : quantized.sites) job.layers.push_back(RecordOf(site));
    return job;
  });
}

// The artifact can be opened as soon as a manifest names its sites; digests come at the end.
absl::Status JobRun::Pack() {
  RETURN_IF_ERROR(writer_.Finish(plan_.spec.model));
  FillSize(plan_, writer_.tensor_bytes(), report_);
  manifest_.sites = writer_.sites();
  manifest_.model_fingerprint = parts_.model_fingerprint;
  manifest_.recipe_json = report_.recipe_json;
  manifest_.calibration_sha256 = plan_.calibration_sha256;
  manifest_.evaluation_sha256 = plan_.evaluation.token_stream_sha256;
  manifest_.build_version = QUANTD_VERSION;
  ASSIGN_OR_RETURN(manifest_.files, DigestedFiles(files_, folder_));
  return WriteManifest(files_, folder_, manifest_);
}

absl::Status JobRun::EvaluateAndExport() {
  ASSIGN_OR_RETURN(const OpenedModel quantized, OpenModelFolder(folder_, /*with_tokenizer=*/false));
  if (!plan_.evaluation.windows.empty()) RETURN_IF_ERROR(Evaluate(*quantized.model));
  for (const std::string& name : plan_.spec.exports) RETURN_IF_ERROR(Export(*quantized.artifact, name));
  return absl::OkStatus();
}

absl::Status JobRun::Evaluate(const Transformer& quantized) {
  ASSIGN_OR_RETURN(Comparison comparison, Compare(quantized));
  report_.evaluation = ReportEvaluation{.text = BaseName(plan_.spec.evaluation_file),
                                        .text_sha256 = plan_.evaluation_sha256,
                                        .protocol = plan_.evaluation.protocol,
                                        .context = plan_.spec.evaluation_context,
                                        .token_stream_sha256 = plan_.evaluation.token_stream_sha256,
                                        .comparison = std::move(comparison)};
  return MeasureSpeeds(quantized);
}

absl::StatusOr<Comparison> JobRun::Compare(const Transformer& quantized) {
  SavedComparison saved;
  double reported = 0;
  ComparisonOptions options;
  const CheckpointDocument* const document = parts_.checkpointer.saved();
  if (document != nullptr && document->phase == kEvaluatePhase) {
    ASSIGN_OR_RETURN(saved.place, ComparisonPlaceFromJson(document->place_json));
    saved.part = [this](const std::string& name) { return parts_.checkpointer.folder().ReadPart(name); };
    options.saved = &saved;
    reported = ShareDone(saved.place, quantized.config().blocks, static_cast<int64_t>(plan_.evaluation.windows.size()));
  }
  options.evaluation.scratch_directory = folder_;
  options.evaluation.progress = [&](double fraction) {
    const double work = (fraction - reported) * plan_.estimate.evaluation_multiply_adds;
    reported = fraction;
    return progress_.Advance(work);
  };
  options.safe_point = [this](absl::FunctionRef<ComparisonState()> state) {
    parts_.checkpointer.AtSafePoint(SafePoint::kWithinBlock, [&] {
      ComparisonState comparison = state();
      return JobState{kEvaluatePhase, PlaceJson(comparison.place), std::move(comparison.parts), {}};
    });
    return absl::OkStatus();
  };
  return CompareModels(parts_.context, *plan_.source.model, quantized, plan_.evaluation, options);
}

// Speed is a service, not a condition: a model too large to hold in memory has none.
absl::Status JobRun::MeasureSpeeds(const Transformer& quantized) {
  const SpeedOptions options;
  const auto original_speed = MeasureSpeed(parts_.context, *plan_.source.model, options);
  if (!original_speed.ok()) {
    report_.warnings.push_back(absl::StrCat("speed was not measured: ", original_speed.status().message()));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Speed quantized_speed, MeasureSpeed(parts_.context, quantized, options));
  report_.speed = ReportSpeed{.original = *original_speed,
                              .quantized = quantized_speed,
                              .threads = parts_.context.threads(),
                              .isa = std::string(IsaName(parts_.context.isa()))};
  return absl::OkStatus();
}

absl::Status JobRun::Export(const ArtifactWeights& artifact, const std::string& name) {
  const std::string folder = absl::StrCat("exports/", name);
  ASSIGN_OR_RETURN(const LoadCertificate certificate,
                   ExportGptq(files_, artifact, plan_.sites, plan_.spec.model, JoinPath(folder_, folder)));
  manifest_.exports.push_back({name, folder, certificate.ToJson().dump()});
  return absl::OkStatus();
}

absl::Status JobRun::FillMeasurements() {
  report_.phase_seconds = progress_.phase_seconds();
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  report_.peak_memory_bytes = static_cast<int64_t>(usage.ru_maxrss) * 1024;
  ASSIGN_OR_RETURN(report_.disk_bytes, FolderBytes(files_, folder_));
  report_.work.total = progress_.total_work();
  report_.work.this_run = progress_.work_done();
  if (!parts_.checkpointer.enabled()) return absl::OkStatus();
  const CheckpointFigures& figures = parts_.checkpointer.figures();
  report_.checkpoint = figures;
  report_.disk_bytes += static_cast<int64_t>(figures.largest_bytes);
  report_.work.this_run -= figures.resumed_from_fraction * progress_.total_work();
  return absl::OkStatus();
}

absl::Status JobRun::Publish() {
  const auto write = [&](const char* name, const std::string& text) {
    // No durable step: the folder is not the result yet.
    return WriteFileDurably(files_, JoinPath(folder_, name), text);
  };
  RETURN_IF_ERROR(write(kReportFile, JsonText(ReportToJson(report_, ReportContent::kDeterministic))));
  RETURN_IF_ERROR(FillMeasurements());
  RETURN_IF_ERROR(write(kPerformanceFile, JsonText(PerformanceToJson(report_))));
  RETURN_IF_ERROR(write(kHtmlFile, ReportHtml(report_)));
  ASSIGN_OR_RETURN(manifest_.files, DigestedFiles(files_, folder_));
  RETURN_IF_ERROR(WriteManifest(files_, folder_, manifest_));
  return PublishFolder(files_, folder_, parts_.options.out, parts_.options.overwrite);
}

}  // namespace quantd
