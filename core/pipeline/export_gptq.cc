#include "core/pipeline/export_gptq.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "core/formats/gptq_reader.h"
#include "core/formats/gptq_writer.h"
#include "core/quant/uniform_weight.h"

namespace quantd {
namespace {

constexpr char kConsumer[] = "vLLM, transformers (GPTQ)";
constexpr int64_t kCompareRows = 64;

absl::Status CannotHold(absl::string_view site, absl::string_view why) {
  return InvalidInput("EXPORT_TARGET_CANNOT_HOLD", absl::StrFormat("gptq export: layer '%s' %s", site, why));
}

// q, k and v (or gate and up) of one block.
std::string FusedSet(const SitePlan& plan) {
  return plan.site.scheme_group.empty() ? "" : absl::StrCat(plan.site.block, ".", plan.site.scheme_group);
}

GptqModuleShape ShapeOf(const SitePlan& plan) {
  const int64_t group_size = plan.parameters.Int("group_size");
  const bool moves_groups =
      plan.parameters.Bool("act_order") && !plan.parameters.Bool("static_groups") && group_size > 0;
  return {.name = plan.site.name,
          .scheme = {.bits = static_cast<int>(plan.parameters.Int("bits")),
                     .group_size = group_size,
                     .symmetric = plan.parameters.Bool("symmetric"),
                     .act_order = moves_groups},
          .rows = plan.site.rows,
          .cols = plan.site.cols,
          .fused_set = FusedSet(plan)};
}

// Codes, scales and zeros of a module, unpacked.
struct Unpacked {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<uint8_t> zeros;
  std::vector<int32_t> group_index;
};

Unpacked Unpack(const UniformWeight& weight) {
  const UniformLayout& layout = weight.layout();
  const size_t cols = static_cast<size_t>(layout.cols), groups = static_cast<size_t>(layout.groups());
  Unpacked out;
  out.codes.resize(static_cast<size_t>(layout.rows) * cols);
  out.scales.resize(static_cast<size_t>(layout.rows) * groups);
  out.zeros.resize(out.scales.size());
  for (int64_t r = 0; r < layout.rows; ++r) {
    const size_t row = static_cast<size_t>(r);
    weight.CodesOfRow(r, absl::MakeSpan(out.codes).subspan(row * cols, cols));
    weight.ScalesOfRow(r, absl::MakeSpan(out.scales).subspan(row * groups, groups));
    weight.ZerosOfRow(r, absl::MakeSpan(out.zeros).subspan(row * groups, groups));
  }
  for (int64_t c = 0; c < layout.cols && layout.has_group_index; ++c) {
    out.group_index.push_back(static_cast<int32_t>(weight.GroupOfColumn(c)));
  }
  return out;
}

absl::StatusOr<const UniformWeight*> UniformOf(const ArtifactWeights& artifact, const SitePlan& plan) {
  const auto* weight = dynamic_cast<const UniformWeight*>(artifact.Quantized(plan.site.name));
  if (weight == nullptr) return CannotHold(plan.site.name, "is not on a uniform grid; the layout holds nothing else");
  return weight;
}

// Version 1 unless some zero of some module is 0.
absl::StatusOr<GptqVersion> VersionFor(const ArtifactWeights& artifact, absl::Span<const SitePlan> plans) {
  for (const SitePlan& plan : plans) {
    if (plan.skip) continue;
    ASSIGN_OR_RETURN(const UniformWeight* weight, UniformOf(artifact, plan));
    std::vector<uint8_t> zeros(static_cast<size_t>(weight->layout().groups()));
    for (int64_t r = 0; r < weight->rows(); ++r) {
      weight->ZerosOfRow(r, absl::MakeSpan(zeros));
      if (RequiredGptqVersion(zeros) == GptqVersion::kV2) return GptqVersion::kV2;
    }
  }
  return GptqVersion::kV1;
}

// Whether a tensor belongs to a packed module (its bias does not).
bool IsPacked(const std::string& name, absl::Span<const SitePlan> plans) {
  return std::any_of(plans.begin(), plans.end(),
                     [&](const SitePlan& plan) { return !plan.skip && name == plan.site.name + ".weight"; });
}

absl::StatusOr<GptqExport> PlanExport(const ArtifactWeights& artifact, absl::Span<const SitePlan> plans,
                                      const std::string& source_folder) {
  GptqExport plan;
  plan.source_folder = source_folder;
  ASSIGN_OR_RETURN(plan.settings.version, VersionFor(artifact, plans));
  plan.settings.quantizer = absl::StrCat("quantd:", QUANTD_VERSION);
  for (const SitePlan& site : plans) {
    if (site.skip) {
      plan.settings.dense_modules.push_back(site.site.name);
      continue;
    }
    plan.settings.modules.push_back(ShapeOf(site));
    plan.settings.damp_percent = std::min(site.parameters.Double("damping"), 0.99);
    plan.settings.true_sequential = site.parameters.Bool("true_sequential");
    plan.settings.static_groups = site.parameters.Bool("static_groups");
  }
  if (plan.settings.modules.empty()) return CannotHold("*", "is quantized: every layer is skipped");
  plan.settings.scheme = plan.settings.modules[0].scheme;
  for (const std::string& name : artifact.Names()) {
    if (IsPacked(name, plans)) continue;
    ASSIGN_OR_RETURN(const Dtype dtype, artifact.StoredDtype(name));
    ASSIGN_OR_RETURN(std::vector<int64_t> shape, artifact.Shape(name));
    plan.dense.push_back({name, dtype, std::move(shape)});
  }
  return plan;
}

absl::Status WriteExport(FileSystem& files, const ArtifactWeights& artifact, absl::Span<const SitePlan> plans,
                         const GptqExport& plan, const std::string& folder) {
  ASSIGN_OR_RETURN(const auto writer, GptqCheckpointWriter::Create(files, folder, plan));
  for (const SitePlan& site : plans) {
    if (site.skip) continue;
    ASSIGN_OR_RETURN(const UniformWeight* weight, UniformOf(artifact, site));
    const Unpacked unpacked = Unpack(*weight);
    RETURN_IF_ERROR(
        writer->AddModule({ShapeOf(site), unpacked.codes, unpacked.scales, unpacked.zeros, unpacked.group_index}));
  }
  for (const TensorSpec& tensor : plan.dense) {
    ASSIGN_OR_RETURN(const auto bytes, artifact.StoredTensorBytes(tensor.name));
    RETURN_IF_ERROR(writer->AddDense({bytes.data(), bytes.size()}));
  }
  return writer->Finish();
}

absl::Status CompareModule(const GptqReader& reader, const QuantizedWeight& weight, const std::string& name,
                           LoadCertificate& certificate) {
  for (int64_t row = 0; row < weight.rows(); row += kCompareRows) {
    const int64_t rows = std::min(kCompareRows, weight.rows() - row);
    Matrix expected(rows, weight.cols()), decoded(rows, weight.cols());
    weight.DecodeRows(row, expected.view());
    RETURN_IF_ERROR(reader.ReadRows(name, row, rows, decoded.span()));
    certificate.Compare(name, expected.span(), decoded.span());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckGptqExport(absl::Span<const SitePlan> plans) {
  std::vector<GptqModuleShape> shapes;
  for (const SitePlan& plan : plans) {
    if (plan.skip) continue;
    if (plan.parameters.Text("grid") != "uniform") return CannotHold(plan.site.name, "is not on a uniform grid");
    if (plan.parameters.Text("scale_dtype") != "f16") {
      return CannotHold(plan.site.name, "has f32 scales; the layout holds f16: set scale_dtype=f16");
    }
    if (!plan.parameters.Bool("per_row"))
      return CannotHold(plan.site.name, "shares scales between rows: set per_row=true");
    shapes.push_back(ShapeOf(plan));
    RETURN_IF_ERROR(CheckGptqShape(shapes.back()));
  }
  return CheckGptqFusedSets(shapes);
}

absl::StatusOr<LoadCertificate> ExportGptq(FileSystem& files, const ArtifactWeights& artifact,
                                           absl::Span<const SitePlan> plans, const std::string& source_folder,
                                           const std::string& folder) {
  ASSIGN_OR_RETURN(const GptqExport plan, PlanExport(artifact, plans, source_folder));
  RETURN_IF_ERROR(files.CreateDirectories(folder));
  RETURN_IF_ERROR(WriteExport(files, artifact, plans, plan, folder));
  ASSIGN_OR_RETURN(const auto reader, GptqReader::Open(folder));
  LoadCertificate certificate;
  certificate.consumer = kConsumer;
  certificate.layout = plan.settings.version == GptqVersion::kV1 ? "gptq" : "gptq_v2";
  certificate.rules = {"shapes fill whole words", "scales are exact in f16", "zeros lie in the code range",
                       "fused sets share their scheme"};
  for (const SitePlan& site : plans) {
    if (site.skip) continue;
    RETURN_IF_ERROR(CompareModule(*reader, *artifact.Quantized(site.site.name), site.site.name, certificate));
  }
  if (certificate.exact()) return certificate;
  return ReasonError(
      absl::StatusCode::kDataLoss, "EXPORT_DIFFERS",
      absl::StrFormat("gptq export: %d weights differ from the artifact's, the worst in '%s' by %g; it is not "
                      "published",
                      certificate.different_values, certificate.worst_module, certificate.worst_absolute_error));
}

}  // namespace quantd
